package pktline

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// Flags returns the lowest eight flag bits of a TCP header as tcpdump writes them: "S", "S.", "F.", "none".
func Flags(bits uint8) string {
	if bits == 0 {
		return "none"
	}
	var s []byte
	for i := range 8 {
		if bits&(1<<i) != 0 {
			s = append(s, "FSRP.UEW"[i])
		}
	}
	return string(s)
}

func (h packet) tcp() string {
	var t layers.TCP
	err := t.DecodeFromBytes(h.body, gopacket.NilDecodeFeedback)
	offset := int(t.DataOffset) * 4
	switch {
	case len(h.body) < 20: // what an ICMP error quotes
		if len(h.body) >= 8 {
			return fmt.Sprintf("tcp, seq %d", binary.BigEndian.Uint32(h.body[4:]))
		}
		return "tcp"
	case offset < 20 || offset > h.size:
		return fmt.Sprintf("tcp, bad header length %d, length %d", offset, h.size)
	}
	var w strings.Builder
	length := h.size - offset
	flags := Flags(h.body[13])
	if t.NS {
		flags = strings.TrimPrefix(flags, "none") + "e"
	}
	fmt.Fprintf(&w, "Flags [%s], seq %d", flags, t.Seq)
	if length > 0 {
		fmt.Fprintf(&w, ":%d", t.Seq+uint32(length))
	}
	if t.ACK {
		fmt.Fprintf(&w, ", ack %d", t.Ack)
	}
	fmt.Fprintf(&w, ", win %d", t.Window)
	if t.URG {
		fmt.Fprintf(&w, ", urg %d", t.Urgent)
	}
	if offset > 20 {
		fmt.Fprintf(&w, ", options [%s]", tcpOptions(t.Options, err != nil))
	}
	fmt.Fprintf(&w, ", length %d", length)
	return w.String()
}

// Options lists the options of a TCP header as tcpdump does: "mss 1460,nop,wscale 7".
func Options(header []byte) string {
	var t layers.TCP
	err := t.DecodeFromBytes(header, gopacket.NilDecodeFeedback)
	return tcpOptions(t.Options, err != nil)
}

// tcpOptions lists the options, followed by "bad" if the one behind them, or the last of them, makes no sense.
func tcpOptions(opts []layers.TCPOption, bad bool) string {
	var s []string
	for i, o := range opts {
		if bad && i == len(opts)-1 {
			break
		}
		s = append(s, tcpOption(o))
	}
	if bad {
		s = append(s, "bad")
	}
	return strings.Join(s, ",")
}

// Option prints an option of a TCP header as tcpdump does: "mss 1460".
func Option(o layers.TCPOption) string { return tcpOption(o) }

func tcpOption(o layers.TCPOption) string {
	u32 := binary.BigEndian.Uint32
	d := o.OptionData
	switch {
	case o.OptionType == layers.TCPOptionKindEndList:
		return "eol"
	case o.OptionType == layers.TCPOptionKindNop:
		return "nop"
	case o.OptionType == layers.TCPOptionKindMSS && len(d) == 2:
		return fmt.Sprintf("mss %d", binary.BigEndian.Uint16(d))
	case o.OptionType == layers.TCPOptionKindWindowScale && len(d) == 1:
		return fmt.Sprintf("wscale %d", d[0])
	case o.OptionType == layers.TCPOptionKindSACKPermitted && len(d) == 0:
		return "sackOK"
	case o.OptionType == layers.TCPOptionKindTimestamps && len(d) == 8:
		return fmt.Sprintf("TS val %d ecr %d", u32(d), u32(d[4:]))
	case o.OptionType == layers.TCPOptionKindSACK && len(d)%8 == 0:
		s := fmt.Sprintf("sack %d ", len(d)/8)
		for ; len(d) > 0; d = d[8:] {
			s += fmt.Sprintf("{%d:%d}", u32(d), u32(d[4:]))
		}
		return s
	}
	return fmt.Sprintf("unknown-%d 0x%x", uint8(o.OptionType), d)
}
