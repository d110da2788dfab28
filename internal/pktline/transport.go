package pktline

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// FlagLetters are tcpdump's letters of the lowest eight flag bits of a TCP header, from the lowest on.
const FlagLetters = "FSRP.UEW"

// Flags returns the lowest eight flag bits of a TCP header as tcpdump writes them: "S", "S.", "F.", "none".
func Flags(bits uint8) string { return nf.TCPFlags(bits).String() }

// isTCP reports whether the packet has a TCP header of a valid length.
func (h packet) isTCP() bool {
	if h.proto != header.ProtoTCP || h.Fault != header.NoFault || len(h.body) < header.TCPSize {
		return false
	}
	offset := int(h.body[12]>>4) * 4
	return offset >= header.TCPSize && offset <= h.size
}

func (h packet) tcp() string {
	b := h.body
	u32 := binary.BigEndian.Uint32
	switch {
	case len(b) < 8: // what an ICMP error quotes
		return "tcp"
	case len(b) < header.TCPSize:
		return fmt.Sprintf("tcp, seq %d", u32(b[4:]))
	}
	offset := int(b[12]>>4) * 4
	if offset < header.TCPSize || offset > h.size {
		return fmt.Sprintf("tcp, bad header length %d, length %d", offset, h.size)
	}
	var w strings.Builder
	length, seq := h.size-offset, u32(b[4:])
	flags := Flags(b[13])
	if b[12]&1 != 0 { // NS of RFC 3540, AE of RFC 9768
		flags = strings.TrimPrefix(flags, "none") + "e"
	}
	fmt.Fprintf(&w, "Flags [%s], seq %d", flags, seq)
	if length > 0 {
		fmt.Fprintf(&w, ":%d", seq+uint32(length))
	}
	if b[13]&0x10 != 0 {
		fmt.Fprintf(&w, ", ack %d", u32(b[8:]))
	}
	fmt.Fprintf(&w, ", win %d", binary.BigEndian.Uint16(b[14:]))
	if b[13]&0x20 != 0 {
		fmt.Fprintf(&w, ", urg %d", binary.BigEndian.Uint16(b[18:]))
	}
	if offset > len(b) {
		w.WriteString(", options [bad]")
	} else if offset > header.TCPSize {
		fmt.Fprintf(&w, ", options [%s]", Options(b[header.TCPSize:offset]))
	}
	fmt.Fprintf(&w, ", length %d", length)
	return w.String()
}

// Options formats the options b of a TCP header as tcpdump does: "mss 1460,nop,wscale 7". The list ends in "bad" at an
// invalid option.
func Options(b []byte) string {
	var s []string
	for len(b) > 0 {
		kind, data, rest := header.Option(b)
		if rest == nil {
			s = append(s, "bad")
		} else {
			s = append(s, Option(kind, data))
		}
		b = rest
	}
	return strings.Join(s, ",")
}

// Option formats an option of a TCP header as tcpdump does: "mss 1460".
func Option(kind uint8, d []byte) string {
	u32 := binary.BigEndian.Uint32
	switch {
	case kind == header.OptionEnd:
		return "eol"
	case kind == header.OptionNOP:
		return "nop"
	case kind == header.OptionMSS && len(d) == 2:
		return fmt.Sprintf("mss %d", binary.BigEndian.Uint16(d))
	case kind == header.OptionWindowScale && len(d) == 1:
		return fmt.Sprintf("wscale %d", d[0])
	case kind == header.OptionSACKPermitted && len(d) == 0:
		return "sackOK"
	case kind == header.OptionTimestamps && len(d) == 8:
		return fmt.Sprintf("TS val %d ecr %d", u32(d), u32(d[4:]))
	case kind == header.OptionSACK && len(d)%8 == 0:
		s := fmt.Sprintf("sack %d ", len(d)/8)
		for ; len(d) > 0; d = d[8:] {
			s += fmt.Sprintf("{%d:%d}", u32(d), u32(d[4:]))
		}
		return s
	}
	return fmt.Sprintf("unknown-%d 0x%x", kind, d)
}

func (h packet) udp() string {
	var u layers.UDP
	err := u.DecodeFromBytes(h.body, gopacket.NilDecodeFeedback)
	switch {
	case len(h.body) < 8:
		return "UDP"
	case u.Length == 0 && h.size > math.MaxUint16: // a jumbogram has no length of its own
		return fmt.Sprintf("UDP, length %d", h.size-8)
	case err != nil || u.Length == 0 || h.frag == "" && int(u.Length) > h.size:
		return fmt.Sprintf("UDP, bad length %d", u.Length)
	}
	return fmt.Sprintf("UDP, length %d", u.Length-8)
}

func (h packet) udplite() string {
	if len(h.body) < 8 {
		return "UDP-Lite"
	}
	coverage := int(binary.BigEndian.Uint16(h.body[4:]))
	switch {
	case coverage == 0:
		return fmt.Sprintf("UDP-Lite, length %d", h.size-8)
	case coverage < 8 || h.frag == "" && coverage > h.size:
		return fmt.Sprintf("UDP-Lite, bad coverage %d, length %d", coverage, h.size-8)
	}
	return fmt.Sprintf("UDP-Lite, coverage %d, length %d", coverage, h.size-8)
}

// sctp formats the chunks with their most important fields.
func (h packet) sctp() string {
	if len(h.body) < 12 {
		return "sctp"
	}
	var w strings.Builder
	fmt.Fprintf(&w, "sctp tag %d", binary.BigEndian.Uint32(h.body[4:]))
	for _, c := range Chunks(h.body[12:]) {
		w.WriteString(" " + c)
	}
	fmt.Fprintf(&w, ", length %d", h.size)
	return w.String()
}

// Chunks returns the chunks of an SCTP packet, one text each: "[INIT tag 1, tsn 100]".
func Chunks(b []byte) []string {
	var out []string
	for len(b) > 0 {
		if len(b) < 4 {
			return append(out, "[cut]")
		}
		length := int(binary.BigEndian.Uint16(b[2:]))
		if length < 4 {
			return append(out, fmt.Sprintf("[%s bad length %d]", chunkName(b[0]), length))
		}
		value := b[4:min(len(b), length)]
		text := chunkName(b[0]) + chunkFields(b[0], value)
		if length > len(b) {
			return append(out, "["+text+" cut]")
		}
		out = append(out, "["+text+"]")
		b = b[min(len(b), (length+3)&^3):]
	}
	return out
}

func chunkFields(typ byte, v []byte) string {
	word := func(i int) uint32 { return binary.BigEndian.Uint32(v[4*i:]) }
	switch {
	case typ == 0 && len(v) >= 12:
		return fmt.Sprintf(" tsn %d, stream %d, seq %d, %d bytes", word(0), word(1)>>16, word(1)&0xffff, len(v)-12)
	case (typ == 1 || typ == 2) && len(v) >= 16:
		return fmt.Sprintf(" tag %d, tsn %d", word(0), word(3))
	case (typ == 3 || typ == 7) && len(v) >= 4:
		return fmt.Sprintf(" tsn %d", word(0))
	}
	return ""
}

func chunkName(typ byte) string {
	names := [...]string{
		"DATA", "INIT", "INIT ACK", "SACK", "HB REQ", "HB ACK", "ABORT", "SHUTDOWN", "SHUTDOWN ACK", "OP ERR",
		"COOKIE ECHO", "COOKIE ACK", 14: "SHUTDOWN COMPLETE",
	}
	if int(typ) < len(names) && names[typ] != "" {
		return names[typ]
	}
	return fmt.Sprintf("chunk-%d", typ)
}

func (h packet) dccp() string {
	b := h.body
	if len(b) < 12 {
		return "dccp"
	}
	typ, size := b[8]>>1&15, int(b[4])*4
	line := DCCPType(typ)
	long, at := b[8]&1 == 1, 12 // sequence numbers of 48 or 24 bits, of which the first is in front of at
	if long {
		at = 16
	}
	if len(b) < at || size < at || size > h.size {
		return fmt.Sprintf("%s, header cut or bad, length %d", line, h.size)
	}
	line += fmt.Sprintf(", seq %d", number(b[9:at], long))
	if hasAck := typ != 0 && typ != 2; hasAck {
		n := 4
		if long {
			n = 8
		}
		if len(b) >= at+n {
			line += fmt.Sprintf(", ack %d", number(b[at:at+n], long))
		}
		at += n
	}
	if len(b) >= at+4 {
		switch typ {
		case 0, 1:
			line += fmt.Sprintf(", service %d", binary.BigEndian.Uint32(b[at:]))
		case 7:
			line += fmt.Sprintf(", code %d", b[at])
		}
	}
	return fmt.Sprintf("%s, length %d", line, h.size-size)
}

// number returns the last 48 or 24 bits of b.
func number(b []byte, long bool) uint64 {
	n := 3
	if long {
		n = 6
	}
	var out uint64
	for _, c := range b[len(b)-n:] {
		out = out<<8 | uint64(c)
	}
	return out
}

// DCCPType returns tcpdump's name of a type of DCCP packet: "DCCP-Request".
func DCCPType(t uint8) string {
	names := [...]string{
		"Request", "Response", "Data", "Ack", "DataAck", "CloseReq", "Close", "Reset", "Sync", "SyncAck",
	}
	if int(t) < len(names) {
		return "DCCP-" + names[t]
	}
	return fmt.Sprintf("DCCP-%d", t)
}

// gre formats the header and, in version 0, the packet inside.
func (h packet) gre(in nesting) string {
	b := h.body
	if len(b) < 4 {
		return "gre"
	}
	g := header.ParseGRE(b)
	var w strings.Builder
	fmt.Fprintf(&w, "GREv%d", g.Version)
	field := func(at int, format string) {
		if at > 0 {
			fmt.Fprintf(&w, format, binary.BigEndian.Uint32(b[at:]))
		}
	}
	if g.Version == 1 && g.Key > 0 { // the length of the payload, and the call
		fmt.Fprintf(&w, ", call %d", binary.BigEndian.Uint16(b[g.Key+2:]))
	} else {
		field(g.Key, ", key %#x")
	}
	field(g.Seq, ", seq %d")
	field(g.Ack, ", ack %d")
	if g.Length > h.size {
		w.WriteString(", header cut")
	}
	fmt.Fprintf(&w, ", proto %#04x, length %d", g.Protocol, h.size)
	if ip := g.Protocol == header.EtherTypeIPv4 || g.Protocol == header.EtherTypeIPv6; ip && g.Version == 0 && g.Length < len(b) {
		w.WriteString(": " + inner(b[g.Length:], in))
	}
	return w.String()
}
