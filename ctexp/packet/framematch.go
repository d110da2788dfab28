package packet

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/pktline"
)

// FrameMatch says which frames are meant. Every field that is not zero must agree; the zero FrameMatch is every frame.
// That some frame left by tun0 that is a SYN+ACK from port 80:
//
//	synack := packet.FrameMatch{Packet: nf.Match{Out: "tun0", Proto: nf.TCP, SrcPort: 80}, TCPFlags: "S."}
//	if !slices.ContainsFunc(frames, synack.Match) { … }
//
// That the host has answered by ARP: FrameMatch{Packet: nf.Match{Out: "eth0"}, EtherType: 0x0806, DstMAC: neighbour}.
//
// More than that is plain Go: Match is one func(Frame) bool among others, and a Frame tells its Tuple, TCPFlags, Data and
// what it is About.
type FrameMatch struct {
	// Packet is compared with the packet as it went over the link, before or behind any NAT. Its In and Out are the name
	// of the link and the direction in one: what came in by a link or what left by one. A frame does either, so that
	// both is a slip, and Match panics.
	Packet nf.Match
	// TCPFlags are the flags as tcpdump writes them, these and no others: "S", "S.", "F.", "none". Match panics where
	// they make no sense.
	TCPFlags string
	// Tuple is the tuple of the packet; of an ICMP message it has type, code and identifier.
	Tuple nf.Tuple
	// About is the tuple of the packet that an ICMP error quotes.
	About nf.Tuple
	// Data stands somewhere in the data of TCP, UDP or ICMP.
	Data string
	// EtherType is what the frame carries: 0x0806 for ARP.
	EtherType uint16
	// SrcMAC and DstMAC are the frame's addresses of Ethernet: link.HardwareAddr().
	SrcMAC, DstMAC nf.MAC
	// VLAN is the id of the outermost tag; that there is none is plain Go, len(f.VLANs()) == 0.
	VLAN uint16
}

// Match reports whether m means the frame f.
func (m FrameMatch) Match(f Record) bool {
	m.check()
	link := m.Packet
	link.In, link.Out = "", ""
	return (m.Packet.In == "" || f.Dir == In && f.Link == m.Packet.In) &&
		(m.Packet.Out == "" || f.Dir == Out && f.Link == m.Packet.Out) &&
		(link == nf.Match{} || link.Packet(f.Ip())) &&
		(m.TCPFlags == "" || sameFlags(m.TCPFlags, f.TCPFlags())) &&
		(m.Tuple == nf.Tuple{} || m.Tuple == f.Tuple()) &&
		(m.About == nf.Tuple{} || m.About == f.About()) &&
		(m.Data == "" || bytes.Contains(f.Data(), []byte(m.Data))) &&
		m.ethernet(f)
}

// ethernet compares what is not the packet's.
func (m FrameMatch) ethernet(f Record) bool {
	if m.VLAN != 0 {
		if tags := f.VLANs(); len(tags) == 0 || tags[0] != m.VLAN {
			return false
		}
	}
	return (m.EtherType == 0 || m.EtherType == f.EtherType) &&
		(m.SrcMAC == nf.MAC{} || m.SrcMAC == f.SrcMAC()) &&
		(m.DstMAC == nf.MAC{} || m.DstMAC == f.DstMAC())
}

// Select returns the frames that m means, in their order.
func (m FrameMatch) Select(frames []Record) []Record {
	var meant []Record
	for _, f := range frames {
		if m.Match(f) {
			meant = append(meant, f)
		}
	}
	return meant
}

// check panics if m can mean no frame by a slip of the programmer: "no such frame" would always hold.
func (m FrameMatch) check() {
	if m.Packet.In != "" && m.Packet.Out != "" {
		panic(fmt.Sprintf("packet: no frame both comes in by %s and leaves by %s", m.Packet.In, m.Packet.Out))
	}
	if flags := m.TCPFlags; flags != "" && flags != noFlags {
		for i, c := range flags {
			if !strings.ContainsRune(allFlags, c) || strings.ContainsRune(flags[:i], c) {
				panic(fmt.Sprintf("packet: TCP flags %q: want some of %q, each once, or %q", flags, allFlags, noFlags))
			}
		}
	}
}

var (
	noFlags  = pktline.Flags(0)
	allFlags = pktline.Flags(0xff)
)

// sameFlags compares flags in any order.
func sameFlags(a, b string) bool {
	if a == noFlags || b == noFlags {
		return a == b
	}
	return len(a) == len(b) && !strings.ContainsFunc(a, func(c rune) bool { return !strings.ContainsRune(b, c) })
}

// String prints m in the words of nft and tcpdump: "oifname tun0 tcp sport 80 flags [S.]"; the zero one as "any frame".
func (m FrameMatch) String() string {
	var s []string
	if p := m.Packet.String(); p != "" {
		s = append(s, p)
	}
	if m.SrcMAC != (nf.MAC{}) {
		s = append(s, fmt.Sprintf("ether saddr %v", m.SrcMAC))
	}
	if m.DstMAC != (nf.MAC{}) {
		s = append(s, fmt.Sprintf("ether daddr %v", m.DstMAC))
	}
	if m.VLAN != 0 {
		s = append(s, fmt.Sprintf("vlan id %d", m.VLAN))
	}
	if m.EtherType != 0 {
		s = append(s, fmt.Sprintf("ether type %#04x", m.EtherType))
	}
	if m.TCPFlags != "" {
		s = append(s, fmt.Sprintf("flags [%s]", m.TCPFlags))
	}
	if m.Tuple != (nf.Tuple{}) {
		s = append(s, fmt.Sprintf("%v %v", m.Tuple.Proto, m.Tuple))
	}
	if m.About != (nf.Tuple{}) {
		s = append(s, fmt.Sprintf("about %v %v", m.About.Proto, m.About))
	}
	if m.Data != "" {
		s = append(s, fmt.Sprintf("data %q", m.Data))
	}
	if len(s) == 0 {
		return "any frame"
	}
	return strings.Join(s, " ")
}
