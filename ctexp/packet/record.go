package packet

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/pcap"
	"github.com/ctexp/go-ctexp/internal/pktline"
)

// Record is a packet that was seen on a link: by an Observer that captures, in a recording, by an Inbox that the host under
// test has sent it to. Whatever has Records can be matched, replayed and written to a file in the same way.
type Record struct {
	// Number is the packet's number in its capture or recording, counted from 1 as Wireshark does. It is zero elsewhere.
	Number int
	// Time is when the kernel had the packet, or when it was recorded; zero where that is not known.
	Time time.Time
	// Link is the name of the interface: "#0" where a recording has its number alone, as Linux cooked captures of version 2
	// do, and "" in files of the pcap format, which know of one interface only.
	Link string
	// Dir is the direction, as the host sees it that captures or has recorded.
	Dir Dir
	// EtherType says what Packet is: EtherTypeIPv4, EtherTypeIPv6, EtherTypeARP; zero what has no such number.
	EtherType uint16
	// Packet begins at the network layer: at the IP header of an IP packet, at the ARP header of ARP. What a recorded frame
	// has behind an IP packet is not kept.
	Packet Packet
	// Ethernet is what stands in front of the packet on a link that has Ethernet: the addresses (DstMAC, SrcMAC), the tags
	// of VLANs, and what the packet is. Nil on others, such as tun. Linux cooked captures note the sender's address and the
	// tags alone; the other address is zero.
	Ethernet []byte
	// Length is how long the packet was on the link: more than len(Packet) if it was cut. Zero is len(Packet).
	Length int
}

// Dir is the direction of a packet, as a host sees it.
type Dir uint8

// The directions: not known, to the host or through it, from the host.
const (
	DirUnknown Dir = iota
	In
	Out
)

// String returns "", "In" or "Out".
func (d Dir) String() string {
	names := [...]string{"", "In", "Out"}
	if int(d) < len(names) {
		return names[d]
	}
	return fmt.Sprintf("Dir(%d)", uint8(d))
}

// What Record.EtherType and GRE.Protocol say of a packet, and the types of VLAN tags (include/uapi/linux/if_ether.h).
const (
	EtherTypeIPv4 uint16 = header.EtherTypeIPv4
	EtherTypeARP  uint16 = header.EtherTypeARP
	EtherTypeVLAN uint16 = header.EtherTypeVLAN
	EtherTypeIPv6 uint16 = header.EtherTypeIPv6
	EtherTypeQinQ uint16 = header.EtherTypeQinQ
)

// On returns p as it goes over a link in a direction, with the EtherType of its IP version: IPv4 where it has none.
func (p Packet) On(link string, d Dir) Record {
	return Record{Link: link, Dir: d, EtherType: header.EtherTypeOf(p), Packet: p}
}

// Records returns the records in their order, as what Replay takes:
//
//	x.Replay(packet.Records(x.Frames()...), inject.Replay{})
func Records(rs ...Record) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for _, r := range rs {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// String prints the record as one line, much as tcpdump does:
//
//	12:00:00.000001 tun0 In  IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
//	12:00:00.000002 eth0 In  vlan 7, IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
//
// Time, link and direction are left out where they are not known, and always the number and the addresses of Ethernet.
func (r Record) String() string {
	if r.Time.IsZero() {
		return r.Line()
	}
	return r.Time.Format("15:04:05.000000") + " " + r.Line()
}

// Line prints the record without its time.
func (r Record) Line() string {
	var b strings.Builder
	if r.Link != "" {
		b.WriteString(r.Link + " ")
	}
	if r.Dir != DirUnknown {
		fmt.Fprintf(&b, "%-3v ", r.Dir)
	}
	for _, id := range r.VLANs() {
		fmt.Fprintf(&b, "vlan %d, ", id)
	}
	if r.EtherType == 0 {
		fmt.Fprintf(&b, "unknown, length %d", len(r.Packet))
	} else {
		b.WriteString(pktline.FormatAs(r.EtherType, r.Packet))
	}
	return b.String()
}

// Decode returns the packet's layers. It never fails: what cannot be decoded is an error layer at the end.
func (r Record) Decode() gopacket.Packet {
	var first gopacket.Decoder
	switch r.EtherType {
	case EtherTypeIPv4:
		first = layers.LayerTypeIPv4
	case EtherTypeIPv6:
		first = layers.LayerTypeIPv6
	case EtherTypeARP:
		first = layers.LayerTypeARP
	default:
		first = gopacket.LayerTypePayload
	}
	return gopacket.NewPacket(r.Packet, first, gopacket.Default)
}

// Family returns the family of the packet by its EtherType; 0 if it is neither IPv4 nor IPv6.
func (r Record) Family() nf.Family {
	switch r.EtherType {
	case EtherTypeIPv4:
		return nf.IPv4
	case EtherTypeIPv6:
		return nf.IPv6
	}
	return 0
}

// IsIP reports whether the packet is IPv4 or IPv6, by its EtherType and by its first bits.
func (r Record) IsIP() bool { return r.ip() != nil }

// ip returns the packet, or nil if it is neither IPv4 nor IPv6 or not what its EtherType says.
func (r Record) ip() Packet {
	switch v := header.Version(r.Packet); {
	case r.EtherType == EtherTypeIPv4 && v == 4, r.EtherType == EtherTypeIPv6 && v == 6:
		return r.Packet
	}
	return nil
}

// IsCut reports whether the end of the packet is missing.
func (r Record) IsCut() bool { return r.Length > len(r.Packet) }

// Tuple returns the tuple of the packet as it stands there, before or behind any NAT; zero if it is not IP.
func (r Record) Tuple() nf.Tuple { return r.ip().Tuple() }

// TCPFlags returns the flags of a TCP segment as its line shows them: "S", "S.", "F.", "none"; "" where there is no
// whole TCP header.
func (r Record) TCPFlags() string {
	if s, ok := r.ip().TCP(); ok {
		return s.Flags.String()
	}
	return ""
}

// Data is Packet.Data of an IP packet; nil of others.
func (r Record) Data() []byte { return r.ip().Data() }

// About returns the tuple of the packet that an ICMP error or redirect quotes, as it stands there; zero for other packets,
// and where the quoted one is too short.
func (r Record) About() nf.Tuple { return r.ip().quoted().Tuple() }

// SrcMAC returns the address of Ethernet that the packet comes from; zero on links that have none.
func (r Record) SrcMAC() nf.MAC { return r.mac(6) }

// DstMAC returns the address of Ethernet that the packet goes to; zero on links that have none.
func (r Record) DstMAC() nf.MAC { return r.mac(0) }

func (r Record) mac(at int) nf.MAC {
	if len(r.Ethernet) < header.EthernetSize {
		return nf.MAC{}
	}
	return nf.MAC(r.Ethernet[at:])
}

// VLANs returns the ids of the VLANs that the packet is tagged with, from the outermost.
func (r Record) VLANs() []uint16 { return header.ParseFrame(r.Ethernet).VLANs(r.Ethernet) }

// ReadRecording reads a recording in the format pcap or pcapng: of Ethernet, with or without VLAN tags, raw IP, Linux cooked
// captures of both versions, BSD loopback; in pcapng of several interfaces, each of its own kind. It reads while the sequence
// is gone through, which can be done once, and holds one packet at a time, so that the recording may be of any length. The
// packets are in memory of their own.
//
// Where the recording ends too early, or is not as it should be, the last thing in the sequence is an error that names the
// number of the packet.
func ReadRecording(r io.Reader) iter.Seq2[Record, error] {
	if r == nil {
		panic("packet: ReadRecording of a nil reader")
	}
	begun := false
	return func(yield func(Record, error) bool) {
		if begun {
			yield(Record{}, errors.New("recording: it was gone through already, which can be done once"))
			return
		}
		begun = true
		from, err := pcap.NewReader(r)
		if err != nil {
			yield(Record{}, fmt.Errorf("recording: %w", err))
			return
		}
		for n := 1; ; n++ {
			p, err := from.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(Record{}, fmt.Errorf("recording: packet %d: %w", n, err))
				return
			}
			if !yield(recorded(n, p), nil) {
				return
			}
		}
	}
}

// recorded copies a packet of a file into memory of its own, all in one piece.
func recorded(n int, p pcap.Packet) Record {
	b := slices.Concat(p.Ethernet, p.Data)
	split := len(p.Ethernet)
	r := Record{
		Number: n, Time: p.Time, Link: p.Link, Dir: Dir(p.Dir), EtherType: p.EtherType, Packet: b[split:], Length: p.Length,
	}
	if p.Ethernet != nil {
		r.Ethernet = b[:split:split]
	}
	return r
}
