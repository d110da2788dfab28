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

// Record is a packet that was seen on a link: captured by an Observer, read from a recording, or received by an Inbox from
// the host under test. Records can be matched, replayed and written to a file, whatever their source.
type Record struct {
	// Number is the packet's number in its capture or recording, counted from 1 as in Wireshark; zero elsewhere.
	Number int
	// Time is when the kernel captured the packet; zero if unknown.
	Time time.Time
	// Link is the name of the interface. It is "#0" and so on if the recording has only the interface's index, as in version 2
	// of Linux cooked captures, and "" in pcap files, which have a single interface.
	Link string
	// Dir is the direction as seen by the host that captured the packet.
	Dir Dir
	// EtherType is the protocol of Packet: EtherTypeIPv4, EtherTypeIPv6, EtherTypeARP; zero if unknown.
	EtherType uint16
	// Packet begins at the network layer: with the IP or ARP header. Bytes of a recorded frame after the end of an IP packet
	// are not kept.
	Packet Packet
	// Ethernet is the link-layer header on a link with Ethernet: the addresses (DstMAC, SrcMAC), the VLAN tags and the
	// EtherType. It is nil on other links, such as tun. Linux cooked captures have only the sender's address and the tags;
	// the destination address is zero.
	Ethernet []byte
	// Class is what conntrack called the packet, in frames of an Observer that could join them with what was logged
	// (netnsenv.Config.Classes); else zero.
	Class nf.Class
	// Length is the length of the packet on the link, more than len(Packet) if the capture is truncated. Zero means
	// len(Packet).
	Length int
}

// Dir is the direction of a packet as seen by a host.
type Dir uint8

const (
	DirUnknown Dir = iota // the direction is not known
	In                    // received by the host
	Out                   // sent by the host
)

// String returns "", "In" or "Out".
func (d Dir) String() string {
	names := [...]string{"", "In", "Out"}
	if int(d) < len(names) {
		return names[d]
	}
	return fmt.Sprintf("Dir(%d)", uint8(d))
}

// Values of Record.EtherType and GRE.Protocol, and the types of VLAN tags (include/uapi/linux/if_ether.h).
const (
	EtherTypeIPv4 uint16 = header.EtherTypeIPv4
	EtherTypeARP  uint16 = header.EtherTypeARP
	EtherTypeVLAN uint16 = header.EtherTypeVLAN
	EtherTypeIPv6 uint16 = header.EtherTypeIPv6
	EtherTypeQinQ uint16 = header.EtherTypeQinQ
)

// On returns a Record of p on a link in a direction, with the EtherType of p's IP version; IPv4 if the version is neither.
func (p Packet) On(link string, d Dir) Record {
	return Record{Link: link, Dir: d, EtherType: header.EtherTypeOf(p), Packet: p}
}

// Records returns the records as a sequence, which Replay takes:
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

// String returns one line like tcpdump's:
//
//	12:00:00.000001 tun0 In  IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
//	12:00:00.000002 eth0 In  vlan 7, IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
//
// Time, link and direction are left out if unknown. The number and the Ethernet addresses are not shown.
func (r Record) String() string {
	if r.Time.IsZero() {
		return r.Line()
	}
	return r.Time.Format("15:04:05.000000") + " " + r.Line()
}

// Line is String without the time.
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

// Decode returns the packet's layers. It never panics: if a layer cannot be decoded, the result has an ErrorLayer at the end.
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

// Family returns the family of the packet's EtherType; 0 if that is neither IPv4 nor IPv6.
func (r Record) Family() nf.Family {
	switch r.EtherType {
	case EtherTypeIPv4:
		return nf.IPv4
	case EtherTypeIPv6:
		return nf.IPv6
	}
	return 0
}

// IsIP reports whether the packet is IPv4 or IPv6 both by its EtherType and by its version field.
func (r Record) IsIP() bool { return r.ip() != nil }

// ip returns the packet, or nil if IsIP is false.
func (r Record) ip() Packet {
	switch v := header.Version(r.Packet); {
	case r.EtherType == EtherTypeIPv4 && v == 4, r.EtherType == EtherTypeIPv6 && v == 6:
		return r.Packet
	}
	return nil
}

// IsCut reports whether the capture of the packet is truncated.
func (r Record) IsCut() bool { return r.Length > len(r.Packet) }

// Tuple returns the conntrack tuple of the packet as it was on the link; zero if it is not IP.
func (r Record) Tuple() nf.Tuple { return r.ip().Tuple() }

// TCPFlags returns the flags of a TCP segment as String shows them: "S", "S.", "F.", "none"; "" if there is no complete TCP
// header.
func (r Record) TCPFlags() string {
	if s, ok := r.ip().TCP(); ok {
		return s.Flags.String()
	}
	return ""
}

// Data returns Packet.Data of an IP packet; nil for others.
func (r Record) Data() []byte { return r.ip().Data() }

// About returns the conntrack tuple of the packet that an ICMP error or redirect quotes; zero for other packets, and if the
// quoted packet is too short.
func (r Record) About() nf.Tuple { return r.ip().quoted().Tuple() }

// SrcMAC returns the Ethernet source address; zero on links without Ethernet.
func (r Record) SrcMAC() nf.MAC { return r.mac(6) }

// DstMAC returns the Ethernet destination address; zero on links without Ethernet.
func (r Record) DstMAC() nf.MAC { return r.mac(0) }

func (r Record) mac(at int) nf.MAC {
	if len(r.Ethernet) < header.EthernetSize {
		return nf.MAC{}
	}
	return nf.MAC(r.Ethernet[at:])
}

// VLANs returns the ids of the packet's VLAN tags, the outermost first.
func (r Record) VLANs() []uint16 { return header.ParseFrame(r.Ethernet).VLANs(r.Ethernet) }

// ReadRecording reads a recording in pcap or pcapng format. The link types are Ethernet, with or without VLAN tags, raw IP,
// both versions of Linux cooked captures, and BSD loopback; a pcapng file may have several interfaces of different types.
// It reads one packet at a time while the sequence is iterated, so that the recording may have any length; the sequence can
// be iterated once. Each packet has its own memory.
//
// If the recording is truncated or malformed, the last element is an error with the number of the packet.
func ReadRecording(r io.Reader) iter.Seq2[Record, error] {
	if r == nil {
		panic("packet: ReadRecording of a nil reader")
	}
	started := false
	return func(yield func(Record, error) bool) {
		if started {
			yield(Record{}, errors.New("recording: the sequence can be iterated only once"))
			return
		}
		started = true
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

// recorded copies a packet of a file, header and data in one allocation.
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
