package ruleset

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/big"
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// datatype describes how the values of a field are printed (nft, src/datatype.c).
type datatype struct {
	host  bool // values are in host byte order
	flags bool // a set of bits; a match without operator means any of them
	text  bool // a string
	// format returns a value in network byte order, of any length, as text.
	format func(p *printer, b []byte) string
}

var (
	number     = &datatype{format: decimal}
	hostNumber = &datatype{host: true, format: decimal}
	rawNumber  = &datatype{format: hexadecimal}
	mark       = &datatype{host: true, format: func(_ *printer, b []byte) string { return "0x" + fmt.Sprintf("%08x", integer(b)) }}
	quoted     = &datatype{text: true, format: func(_ *printer, b []byte) string { return `"` + string(bytes.TrimRight(b, "\x00")) + `"` }}
	linkName   = &datatype{text: true, format: func(p *printer, b []byte) string {
		if len(b) > 0 && len(b) < unix.IFNAMSIZ && b[len(b)-1] != 0 { // a prefix
			return fmt.Sprintf("\"%s*\"", b)
		}
		return quoted.format(p, b)
	}}
	linkIndex = &datatype{host: true, format: func(p *printer, b []byte) string {
		if n := integer(b); p.link != nil && n.IsUint64() && n.Sign() > 0 {
			return p.link(uint32(n.Uint64()))
		}
		return decimal(p, b)
	}}
	ipAddress  = &datatype{format: func(p *printer, b []byte) string { return address(b, 4) }}
	ip6Address = &datatype{format: func(p *printer, b []byte) string { return address(b, 16) }}
	boolean    = inHostOrder(names("missing", "exists"))
	timeout    = &datatype{host: true, format: func(_ *printer, b []byte) string { return duration(integer(b).Uint64()) }}
	protocol   = symbols(map[uint64]string{
		1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 33: "dccp", 41: "ipv6", 47: "gre", 50: "esp", 51: "ah", 58: "ipv6-icmp",
		108: "comp", 132: "sctp", 136: "udplite",
	})
	nfproto   = symbols(map[uint64]string{unix.NFPROTO_IPV4: "ipv4", unix.NFPROTO_IPV6: "ipv6"})
	etherType = symbols(map[uint64]string{
		unix.ETH_P_IP: "ip", unix.ETH_P_ARP: "arp", unix.ETH_P_IPV6: "ip6", unix.ETH_P_8021Q: "8021q", unix.ETH_P_8021AD: "8021ad",
	})
	hardware  = inHostOrder(symbols(map[uint64]string{unix.ARPHRD_ETHER: "ether", unix.ARPHRD_PPP: "ppp", unix.ARPHRD_LOOPBACK: "loopback"}))
	direction = names("original", "reply")
	ctState   = bitNames("invalid", "established", "related", "new", "", "", "untracked")
	ctStatus  = bitNames("expected", "seen-reply", "assured", "confirmed", "snat", "dnat", "", "", "", "dying")
	tcpFlags  = bitNames("fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr")
	packetTo  = names("host", "broadcast", "multicast", "other")
	addrType  = inHostOrder(names("unspec", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit"))
	icmpType  = symbols(map[uint64]string{
		0: "echo-reply", 3: "destination-unreachable", 4: "source-quench", 5: "redirect", 8: "echo-request", 9: "router-advertisement",
		10: "router-solicitation", 11: "time-exceeded", 12: "parameter-problem", 13: "timestamp-request", 14: "timestamp-reply",
		15: "info-request", 16: "info-reply", 17: "address-mask-request", 18: "address-mask-reply",
	})
	icmp6Type = symbols(map[uint64]string{
		1: "destination-unreachable", 2: "packet-too-big", 3: "time-exceeded", 4: "parameter-problem", 128: "echo-request",
		129: "echo-reply", 130: "mld-listener-query", 131: "mld-listener-report", 132: "mld-listener-done", 133: "nd-router-solicit",
		134: "nd-router-advert", 135: "nd-neighbor-solicit", 136: "nd-neighbor-advert", 137: "nd-redirect", 138: "router-renumbering",
		141: "ind-neighbor-solicit", 142: "ind-neighbor-advert", 143: "mld2-listener-report",
	})
	icmpCode = symbols(map[uint64]string{
		0: "net-unreachable", 1: "host-unreachable", 2: "prot-unreachable", 3: "port-unreachable", 4: "frag-needed", 9: "net-prohibited",
		10: "host-prohibited", 13: "admin-prohibited",
	})
	icmp6Code = symbols(map[uint64]string{
		0: "no-route", 1: "admin-prohibited", 3: "addr-unreachable", 4: "port-unreachable", 5: "policy-fail", 6: "reject-route",
	})
	icmpxCode = names("no-route", "port-unreachable", "host-unreachable", "admin-prohibited")
)

// symbols returns a type whose values may have names.
func symbols(of map[uint64]string) *datatype {
	return &datatype{format: func(p *printer, b []byte) string {
		if n := integer(b); n.IsUint64() && of[n.Uint64()] != "" {
			return of[n.Uint64()]
		}
		return decimal(p, b)
	}}
}

// names returns a type whose values have names, starting at 0.
func names(of ...string) *datatype {
	m := map[uint64]string{}
	for i, name := range of {
		m[uint64(i)] = name
	}
	return symbols(m)
}

func inHostOrder(t *datatype) *datatype {
	t.host = true
	return t
}

// bitNames returns a type for sets of bits with names, starting at the lowest. Values are in host byte order.
func bitNames(of ...string) *datatype {
	return &datatype{host: true, flags: true, format: func(_ *printer, b []byte) string {
		n := integer(b)
		var set []string
		for i := range n.BitLen() {
			switch {
			case n.Bit(i) == 0:
			case i < len(of) && of[i] != "":
				set = append(set, of[i])
			default:
				set = append(set, fmt.Sprintf("0x%x", new(big.Int).Lsh(big.NewInt(1), uint(i))))
			}
		}
		if set == nil {
			return "0x0"
		}
		return strings.Join(set, ",")
	}}
}

func integer(b []byte) *big.Int { return new(big.Int).SetBytes(b) }

func decimal(_ *printer, b []byte) string { return integer(b).String() }

func hexadecimal(_ *printer, b []byte) string { return fmt.Sprintf("0x%x", integer(b)) }

// address returns an IP address; if there are fewer bytes, a prefix.
func address(b []byte, size int) string {
	if len(b) > size || len(b) == 0 {
		return hexadecimal(nil, b)
	}
	a, _ := netip.AddrFromSlice(append(slices.Clone(b), make([]byte, size-len(b))...))
	if len(b) < size {
		return fmt.Sprintf("%v/%d", a, len(b)*8)
	}
	return a.String()
}

// duration returns milliseconds as nft prints them: "1d2h3m4s".
func duration(ms uint64) (s string) {
	for _, u := range []struct {
		ms   uint64
		name string
	}{{24 * 60 * 60 * 1000, "d"}, {60 * 60 * 1000, "h"}, {60 * 1000, "m"}, {1000, "s"}, {1, "ms"}} {
		if n := ms / u.ms; n > 0 {
			s += fmt.Sprintf("%d%s", n, u.name)
		}
		ms %= u.ms
	}
	if s == "" {
		return "0s"
	}
	return s
}

// swap converts a value from host to network byte order.
func swap(b []byte) []byte {
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		return b
	}
	b = slices.Clone(b)
	slices.Reverse(b)
	return b
}

func isZero(b []byte) bool { return integer(b).Sign() == 0 }

// isDisjoint reports whether a and b have no common bits.
func isDisjoint(a, b []byte) bool {
	for i := range min(len(a), len(b)) {
		if a[i]&b[i] != 0 {
			return false
		}
	}
	return true
}

// ones returns the number of bits set in a mask.
func ones(mask []byte) int {
	n := 0
	for _, x := range mask {
		n += bits.OnesCount8(x)
	}
	return n
}

// isPrefix reports whether a mask is the netmask of an address prefix.
func isPrefix(t *datatype, mask []byte) bool {
	if t != ipAddress && t != ip6Address {
		return false
	}
	n := ones(mask)
	for i, x := range mask {
		if want := byte(0xff << (8 - min(8, max(0, n-8*i)))); x != want {
			return false
		}
	}
	return true
}

// field is a property of a packet, its conntrack entry or its socket, or a field of a header.
type field struct {
	name   string    // as in nft
	typ    *datatype // how its values are printed
	size   int       // in bytes
	offset uint32    // in the header; 0 for others
}

// fields has fields by the kernel's numbers.
type fields map[uint32]field

// fieldOf returns the field with the number key. An unknown field is named by its number.
func fieldOf(of fields, what string, key uint32) field {
	f, ok := of[key]
	if !ok {
		return field{name: fmt.Sprintf("%s [%d]", what, key), typ: rawNumber, size: 4}
	}
	return f
}

var (
	metaFields = fields{
		unix.NFT_META_LEN: {"meta length", hostNumber, 4, 0}, unix.NFT_META_PROTOCOL: {"meta protocol", etherType, 2, 0},
		unix.NFT_META_MARK: {"meta mark", mark, 4, 0}, unix.NFT_META_NFPROTO: {"meta nfproto", nfproto, 1, 0},
		unix.NFT_META_IIF: {"iif", linkIndex, 4, 0}, unix.NFT_META_OIF: {"oif", linkIndex, 4, 0},
		unix.NFT_META_IIFNAME: {"iifname", linkName, 16, 0}, unix.NFT_META_OIFNAME: {"oifname", linkName, 16, 0},
		unix.NFT_META_IIFTYPE: {"meta iiftype", hardware, 2, 0}, unix.NFT_META_OIFTYPE: {"meta oiftype", hardware, 2, 0},
		unix.NFT_META_SKUID: {"meta skuid", hostNumber, 4, 0}, unix.NFT_META_SKGID: {"meta skgid", hostNumber, 4, 0},
		unix.NFT_META_NFTRACE: {"meta nftrace", hostNumber, 1, 0}, unix.NFT_META_L4PROTO: {"meta l4proto", protocol, 1, 0},
		unix.NFT_META_PKTTYPE: {"meta pkttype", packetTo, 1, 0}, unix.NFT_META_CPU: {"meta cpu", hostNumber, 4, 0},
		unix.NFT_META_IIFGROUP: {"iifgroup", hostNumber, 4, 0}, unix.NFT_META_OIFGROUP: {"oifgroup", hostNumber, 4, 0},
		unix.NFT_META_CGROUP: {"meta cgroup", hostNumber, 4, 0}, unix.NFT_META_PRANDOM: {"meta random", number, 4, 0},
	}
	ctFields = fields{
		unix.NFT_CT_STATE: {"ct state", ctState, 4, 0}, unix.NFT_CT_DIRECTION: {"ct direction", direction, 1, 0},
		unix.NFT_CT_STATUS: {"ct status", ctStatus, 4, 0}, unix.NFT_CT_MARK: {"ct mark", mark, 4, 0},
		unix.NFT_CT_EXPIRATION: {"ct expiration", timeout, 4, 0}, unix.NFT_CT_HELPER: {"ct helper", quoted, 16, 0},
		unix.NFT_CT_L3PROTOCOL: {"ct l3proto", nfproto, 1, 0}, unix.NFT_CT_PROTOCOL: {"ct protocol", protocol, 1, 0},
		unix.NFT_CT_PROTO_SRC: {"ct proto-src", number, 2, 0}, unix.NFT_CT_PROTO_DST: {"ct proto-dst", number, 2, 0},
		unix.NFT_CT_PKTS: {"ct packets", hostNumber, 8, 0}, unix.NFT_CT_BYTES: {"ct bytes", hostNumber, 8, 0},
		unix.NFT_CT_AVGPKT: {"ct avgpkt", hostNumber, 8, 0}, unix.NFT_CT_ZONE: {"ct zone", hostNumber, 2, 0},
		unix.NFT_CT_ID: {"ct id", number, 4, 0}, unix.NFT_CT_SRC: {"ct ip saddr", ipAddress, 4, 0}, unix.NFT_CT_DST: {"ct ip daddr", ipAddress, 4, 0},
		unix.NFT_CT_SRC_IP: {"ct ip saddr", ipAddress, 4, 0}, unix.NFT_CT_DST_IP: {"ct ip daddr", ipAddress, 4, 0},
		unix.NFT_CT_SRC_IP6: {"ct ip6 saddr", ip6Address, 16, 0}, unix.NFT_CT_DST_IP6: {"ct ip6 daddr", ip6Address, 16, 0},
	}
	socketFields = fields{ // enum nft_socket_keys
		0: {"socket transparent", hostNumber, 1, 0}, 1: {"socket mark", mark, 4, 0}, 2: {"socket wildcard", hostNumber, 1, 0},
	}
	fibFields = fields{
		unix.NFT_FIB_RESULT_OIF: {"oif", linkIndex, 4, 0}, unix.NFT_FIB_RESULT_OIFNAME: {"oifname", linkName, 16, 0},
		unix.NFT_FIB_RESULT_ADDRTYPE: {"type", addrType, 4, 0},
	}

	ports = []field{{"sport", number, 2, 0}, {"dport", number, 2, 2}}
	// headers has the fields of each header, by the header's name.
	headers = map[string][]field{
		"ip": {
			{"length", number, 2, 2}, {"id", number, 2, 4}, {"frag-off", number, 2, 6}, {"ttl", number, 1, 8}, {"protocol", protocol, 1, 9},
			{"checksum", number, 2, 10}, {"saddr", ipAddress, 4, 12}, {"daddr", ipAddress, 4, 16},
		},
		"ip6": {
			{"length", number, 2, 4}, {"nexthdr", protocol, 1, 6}, {"hoplimit", number, 1, 7}, {"saddr", ip6Address, 16, 8},
			{"daddr", ip6Address, 16, 24},
		},
		"tcp": append([]field{
			{"sequence", number, 4, 4}, {"ackseq", number, 4, 8}, {"flags", tcpFlags, 1, 13}, {"window", number, 2, 14},
			{"checksum", number, 2, 16}, {"urgptr", number, 2, 18},
		}, ports...),
		"udp":     append([]field{{"length", number, 2, 4}, {"checksum", number, 2, 6}}, ports...),
		"udplite": ports,
		"sctp":    append([]field{{"vtag", number, 4, 4}}, ports...),
		"dccp":    ports,
		"th":      ports,
		"icmp":    {{"type", icmpType, 1, 0}, {"code", icmpCode, 1, 1}, {"checksum", number, 2, 2}, {"id", number, 2, 4}, {"sequence", number, 2, 6}},
		"icmpv6":  {{"type", icmp6Type, 1, 0}, {"code", icmp6Code, 1, 1}, {"checksum", number, 2, 2}, {"id", number, 2, 4}, {"sequence", number, 2, 6}},
	}
)

// fieldsAt returns the fields that the bytes of a header consist of, or nil if they are not whole fields.
func fieldsAt(header string, offset uint32, size int) (parts []field) {
	for end := offset + uint32(size); offset < end; {
		i := slices.IndexFunc(headers[header], func(f field) bool {
			isAddress := f.typ == ipAddress || f.typ == ip6Address // for a prefix, nft may load only its bytes
			return f.offset == offset && (f.size == int(end-offset) || f.size < int(end-offset) && header != "th" || isAddress && parts == nil)
		})
		if i < 0 {
			return nil
		}
		f := headers[header][i]
		offset += uint32(f.size)
		f.name = header + " " + f.name
		parts = append(parts, f)
	}
	return parts
}
