package observe

import (
	"fmt"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// operand is what a register holds: something of the packet, with the way its values are written, or data.
type operand struct {
	name   string
	format func([]byte) string
	mask   []byte // what it was and-ed with; nil: with nothing
	data   []byte // the value itself, where it is one
}

// from returns what o is set to: a value, or something of the packet.
func (o operand) from(source operand) string {
	if source.data == nil && source.name != "" {
		return source.name
	}
	return o.value(source.data)
}

func (o operand) value(data []byte) string {
	if o.format == nil {
		return hexadecimal(data)
	}
	return o.format(data)
}

const (
	l4proto = "meta l4proto"
	nfproto = "meta nfproto"
)

func metaOperand(k expr.MetaKey) operand {
	switch k {
	case expr.MetaKeyIIFNAME:
		return operand{name: "iifname", format: text}
	case expr.MetaKeyOIFNAME:
		return operand{name: "oifname", format: text}
	case expr.MetaKeyIIF:
		return operand{name: "iif", format: hostNumber}
	case expr.MetaKeyOIF:
		return operand{name: "oif", format: hostNumber}
	case expr.MetaKeyL4PROTO:
		return operand{name: l4proto, format: protocol}
	case expr.MetaKeyNFPROTO:
		return operand{name: nfproto, format: family}
	case expr.MetaKeyPROTOCOL:
		return operand{name: "meta protocol", format: hexadecimal}
	case expr.MetaKeyMARK:
		return operand{name: "meta mark", format: hostHexadecimal}
	case expr.MetaKeyLEN:
		return operand{name: "meta length", format: hostNumber}
	case expr.MetaKeySKUID:
		return operand{name: "meta skuid", format: hostNumber}
	case expr.MetaKeySKGID:
		return operand{name: "meta skgid", format: hostNumber}
	case expr.MetaKeyPKTTYPE:
		return operand{name: "meta pkttype", format: hostNumber}
	case expr.MetaKeyNFTRACE:
		return operand{name: "meta nftrace", format: hostNumber}
	}
	return operand{name: fmt.Sprintf("meta(%d)", k), format: hexadecimal}
}

// ctOperand returns what a ct expression loads, of one direction if it says so.
func ctOperand(e *expr.Ct) operand {
	o := ctKeyOperand(e.Key)
	if e.Direction&withDirection != 0 {
		o.name = fmt.Sprintf("ct %v%s", nf.Original+nf.Direction(e.Direction&^withDirection), strings.TrimPrefix(o.name, "ct"))
	}
	return o
}

func ctKeyOperand(k expr.CtKey) operand {
	switch k {
	case expr.CtKeySTATE:
		return operand{name: "ct state", format: ctState}
	case expr.CtKeySTATUS:
		return operand{name: "ct status", format: ctStatus}
	case expr.CtKeyMARK:
		return operand{name: "ct mark", format: hostHexadecimal}
	case expr.CtKeyZONE:
		return operand{name: "ct zone", format: hostNumber}
	case expr.CtKeyDIRECTION:
		return operand{name: "ct direction", format: hostNumber}
	case expr.CtKeyHELPER:
		return operand{name: "ct helper", format: text}
	case expr.CtKeyEXPIRATION:
		return operand{name: "ct expiration", format: hostNumber}
	case expr.CtKeyPROTOCOL:
		return operand{name: "ct protocol", format: protocol}
	case expr.CtKeyPROTOSRC:
		return operand{name: "ct proto-src", format: number}
	case expr.CtKeyPROTODST:
		return operand{name: "ct proto-dst", format: number}
	case expr.CtKeySRC, unix.NFT_CT_SRC_IP, unix.NFT_CT_SRC_IP6:
		return operand{name: "ct saddr", format: address}
	case expr.CtKeyDST, unix.NFT_CT_DST_IP, unix.NFT_CT_DST_IP6:
		return operand{name: "ct daddr", format: address}
	}
	return operand{name: fmt.Sprintf("ct(%d)", k), format: hexadecimal}
}

// headerField is a field of a header by its place.
type headerField struct {
	offset, length uint32
	name           string
	format         func([]byte) string
}

var (
	fieldsOfIP = []headerField{
		{0, 1, "version", hexadecimal}, {1, 1, "dscp", hexadecimal}, {2, 2, "length", number}, {4, 2, "id", number},
		{6, 2, "frag-off", hexadecimal}, {8, 1, "ttl", number}, {9, 1, "protocol", protocol},
		{12, 4, "saddr", address}, {16, 4, "daddr", address},
		{12, 3, "saddr", address}, {12, 2, "saddr", address}, {12, 1, "saddr", address}, // nft cuts prefixes of whole bytes
		{16, 3, "daddr", address}, {16, 2, "daddr", address}, {16, 1, "daddr", address},
	}
	fieldsOfIP6 = []headerField{
		{4, 2, "length", number}, {6, 1, "nexthdr", protocol}, {7, 1, "hoplimit", number},
		{8, 16, "saddr", address}, {24, 16, "daddr", address},
	}
	fieldsOfPorts = []headerField{{0, 2, "sport", number}, {2, 2, "dport", number}}
	fieldsOfTCP   = append([]headerField{
		{4, 4, "sequence", number}, {8, 4, "ackseq", number}, {13, 1, "flags", tcpFlags}, {14, 2, "window", number},
	}, fieldsOfPorts...)
	fieldsOfUDP  = append([]headerField{{4, 2, "length", number}, {6, 2, "checksum", hexadecimal}}, fieldsOfPorts...)
	fieldsOfICMP = []headerField{{0, 1, "type", number}, {1, 1, "code", number}, {4, 2, "id", number}, {6, 2, "sequence", number}}
)

// payloadOperand names a field of a header, by what the rule has asked for before. The condition that nft puts before
// it (the protocol for a port, the family for an address) is implied by the name.
func (w *ruleWriter) payloadOperand(p *expr.Payload) operand {
	switch p.Base {
	case expr.PayloadBaseNetworkHeader:
		for _, of := range []struct {
			name, family string
			fields       []headerField
		}{{"ip", "ipv4", fieldsOfIP}, {"ip6", "ipv6", fieldsOfIP6}} {
			if w.family != "" && w.family != of.name {
				continue
			}
			if f, ok := findField(of.fields, p.Offset, p.Len); ok {
				w.implied(nfproto + " " + of.family)
				return operand{name: of.name + " " + f.name, format: f.format}
			}
		}
	case expr.PayloadBaseTransportHeader:
		fields := map[string][]headerField{
			"tcp": fieldsOfTCP, "udp": fieldsOfUDP, "icmp": fieldsOfICMP, "icmpv6": fieldsOfICMP, "sctp": fieldsOfPorts, "dccp": fieldsOfPorts,
		}[w.proto]
		name := w.proto
		if fields == nil {
			fields, name = fieldsOfPorts, "th"
		}
		if f, ok := findField(fields, p.Offset, p.Len); ok {
			w.implied(l4proto + " " + w.proto)
			return operand{name: name + " " + f.name, format: f.format}
		}
	}
	base := map[expr.PayloadBase]string{
		expr.PayloadBaseLLHeader: "ll", expr.PayloadBaseNetworkHeader: "nh", expr.PayloadBaseTransportHeader: "th",
	}[p.Base]
	return operand{name: fmt.Sprintf("@%s,%d,%d", base, p.Offset*8, p.Len*8), format: hexadecimal}
}

func findField(fields []headerField, offset, length uint32) (headerField, bool) {
	for _, f := range fields {
		if f.offset == offset && f.length == length {
			return f, true
		}
	}
	return headerField{}, false
}

func fibName(f *expr.Fib) string {
	s := "fib"
	for _, part := range []struct {
		on   bool
		name string
	}{
		{f.FlagSADDR, " saddr"}, {f.FlagDADDR, " daddr"}, {f.FlagMARK, " mark"}, {f.FlagIIF, " iif"}, {f.FlagOIF, " oif"},
		{f.ResultOIF, " oif"}, {f.ResultOIFNAME, " oifname"}, {f.ResultADDRTYPE, " type"},
	} {
		if part.on {
			s += part.name
		}
	}
	return s
}
