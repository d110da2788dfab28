package packet

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/pcap"
	"github.com/ctexp/go-ctexp/internal/pktline"
)

// Frame is what went over a link, once.
type Record struct {
	Time time.Time // when the kernel had it
	Link string    // name of the interface
	Dir  Dir
	// EtherType says what Packet is: 0x0800 IPv4, 0x86dd IPv6, 0x0806 ARP.
	EtherType uint16
	// Packet begins at the network layer: at the IP header of an IP packet, at the ARP header of ARP.
	Packet []byte
	// Ethernet is what stands in front of it on a link that has Ethernet: the addresses (DstMAC, SrcMAC), the tags of
	// VLANs, and what the packet is. Nil on others, such as tun.
	Ethernet []byte
}

// Dir is the direction of a frame, as the host sees it.
type Dir uint8

// The directions.
const (
	In Dir = iota
	Out
)

// String returns "In" or "Out".
func (d Dir) String() string {
	if d == Out {
		return "Out"
	}
	return "In"
}

// String prints the frame as one line, much as tcpdump does:
//
//	12:00:00.000001 tun0 In  IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
//
// In front of the packet stand the tags of VLANs, "vlan 7, "; the addresses of Ethernet are left to SrcMAC and DstMAC.
func (f Record) String() string {
	return fmt.Sprintf("%s %s", f.Time.Format("15:04:05.000000"), f.Line())
}

// line prints the frame without its time.
func (f Record) Line() string {
	tags := ""
	for _, id := range f.VLANs() {
		tags += fmt.Sprintf("vlan %d, ", id)
	}
	return fmt.Sprintf("%s %-3v %s%s", f.Link, f.Dir, tags, pktline.FormatAs(f.EtherType, f.Packet))
}

// Decode returns the packet's layers. It never fails: what cannot be decoded is an error layer at the end.
func (f Record) Decode() gopacket.Packet {
	var first gopacket.Decoder
	switch f.EtherType {
	case header.EtherTypeIPv4:
		first = layers.LayerTypeIPv4
	case header.EtherTypeIPv6:
		first = layers.LayerTypeIPv6
	case header.EtherTypeARP:
		first = layers.LayerTypeARP
	default:
		first = gopacket.LayerTypePayload
	}
	return gopacket.NewPacket(f.Packet, first, gopacket.Default)
}

// ip returns the packet of the frame, or nil if it is neither IPv4 nor IPv6 or not what its EtherType says.
func (f Record) Ip() []byte {
	switch v := header.Version(f.Packet); {
	case f.EtherType == header.EtherTypeIPv4 && v == 4, f.EtherType == header.EtherTypeIPv6 && v == 6:
		return f.Packet
	}
	return nil
}

// Family returns the family of the frame's packet by its EtherType; 0 if it is neither IPv4 nor IPv6.
func (f Record) Family() nf.Family {
	switch f.EtherType {
	case header.EtherTypeIPv4:
		return nf.IPv4
	case header.EtherTypeIPv6:
		return nf.IPv6
	}
	return 0
}

// Tuple returns the tuple of the frame's packet as it stands there, before or behind any NAT; zero if it is not IP.
func (f Record) Tuple() nf.Tuple {
	t, _ := nf.TupleOf(f.Ip())
	return t
}

// transport returns the protocol of the frame's packet, and the bytes from its transport header on.
func (f Record) transport() (nf.Proto, []byte) {
	p := f.Ip()
	v := header.Parse(p)
	return nf.Proto(v.Proto), v.Body(p)
}

// TCPFlags returns the flags of a TCP segment as its line shows them: "S", "S.", "F.", "none"; "" where there is no
// whole TCP header.
func (f Record) TCPFlags() string {
	proto, b := f.transport()
	if proto != nf.TCP || len(b) < header.TCPSize {
		return ""
	}
	return pktline.Flags(b[13])
}

// Data returns what the frame's packet carries behind the header of TCP, UDP or ICMP, options of TCP passed over; nil
// for other protocols and where there is no such header. The bytes are those of Packet.
func (f Record) Data() []byte {
	proto, b := f.transport()
	return header.Data(uint8(proto), b)
}

// About returns the tuple of the packet that an ICMP error or redirect quotes, as it stands there; zero for other packets,
// and where the quoted one is too short.
func (f Record) About() nf.Tuple {
	p := f.Ip()
	t, _ := nf.TupleOf(header.Parse(p).Quoted(p))
	return t
}

// SrcMAC returns the address of Ethernet that the frame comes from; zero on links that have none.
func (f Record) SrcMAC() nf.MAC { return f.mac(6) }

// DstMAC returns the address of Ethernet that the frame goes to; zero on links that have none.
func (f Record) DstMAC() nf.MAC { return f.mac(0) }

func (f Record) mac(at int) nf.MAC {
	if len(f.Ethernet) < header.EthernetSize {
		return nf.MAC{}
	}
	return nf.MAC(f.Ethernet[at:])
}

// VLANs returns the ids of the VLANs that the frame is tagged with, from the outermost.
func (f Record) VLANs() []uint16 { return header.ParseFrame(f.Ethernet).VLANs(f.Ethernet) }

// Recorded is one packet of a recording.
type Recorded struct {
	// Number is its number in the file, counted from 1 as Wireshark does.
	Number int
	// Time is when it was seen; zero where the file does not say.
	Time time.Time
	// Link is the name of the interface at which it was seen: "#0" where that has a number alone, as those of Linux cooked
	// captures of version 2, and "" in files of the pcap format, which know of one only.
	Link string
	// Dir is the direction that pcapng and Linux cooked captures note.
	Dir RecordedDir
	// Src and Dst are the addresses of the link layer; zero where the recording has none.
	Src, Dst nf.MAC
	// VLAN is the id of the outermost tag; zero without.
	VLAN uint16
	// Tags are all tags of VLANs, from the outermost, four bytes each as they stand in the frame. They, and not VLAN, are
	// what Replay sends.
	Tags []byte
	// EtherType says what Packet is: 0x0800 IPv4, 0x86dd IPv6, 0x0806 ARP; zero what has no such number.
	EtherType uint16
	// Packet begins at the network layer. What a frame has behind an IP packet is not kept.
	Packet Packet
	// Length is how long it was when it was recorded: more than len(Packet) if the recording cut it.
	Length int
}

// Dir is the direction of a recorded packet, as the host saw it that recorded.
type RecordedDir uint8

// The directions: not known, to the host or through it, and from it.
const (
	RecordedUnknown RecordedDir = iota
	RecordedIn
	RecordedOut
)

// String returns "", "In" or "Out".
func (d RecordedDir) String() string {
	names := [...]string{"", "In", "Out"}
	if int(d) < len(names) {
		return names[d]
	}
	return fmt.Sprintf("direction(%d)", uint8(d))
}

// String returns number, link, direction, the tags of VLANs and the packet in the manner of tcpdump:
//
//	7 tun0 In IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
//	8 eth0 In vlan 7, IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
func (r Recorded) String() string {
	s := fmt.Sprint(r.Number)
	for _, word := range []string{r.Link, r.Dir.String()} {
		if word != "" {
			s += " " + word
		}
	}
	for tag := range slices.Chunk(r.Tags, 4) {
		s += fmt.Sprintf(" vlan %d,", header.VLAN(tag[len(tag)-2:]))
	}
	if !r.IsIP() {
		return s + fmt.Sprintf(" ethertype 0x%04x, length %d", r.EtherType, r.Length)
	}
	return s + " " + r.Packet.String()
}

func (r Recorded) IsIP() bool {
	return r.EtherType == header.EtherTypeIPv4 || r.EtherType == header.EtherTypeIPv6
}

func (r Recorded) Cut() bool { return r.Length > len(r.Packet) }

// ReadRecording reads a recording in the format pcap or pcapng: of Ethernet, with or without VLAN tags, raw IP, Linux cooked
// captures of both versions, BSD loopback; in pcapng of several interfaces, each of its own kind. It reads while the sequence
// is gone through, which can be done once, and holds one packet at a time, so that the recording may be of any length. The
// packets are in memory of their own.
//
// Where the recording ends too early, or is not as it should be, the last thing in the sequence is an error that names the
// number of the packet.
func ReadRecording(r io.Reader) iter.Seq2[Recorded, error] {
	if r == nil {
		panic("packet: ReadRecording of a nil reader")
	}
	begun := false
	return func(yield func(Recorded, error) bool) {
		if begun {
			yield(Recorded{}, errors.New("recording: it was gone through already, which can be done once"))
			return
		}
		begun = true
		from, err := pcap.NewReader(r)
		if err != nil {
			yield(Recorded{}, fmt.Errorf("recording: %w", err))
			return
		}
		for n := 1; ; n++ {
			p, err := from.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(Recorded{}, fmt.Errorf("recording: packet %d: %w", n, err))
				return
			}
			if !yield(recorded(n, p), nil) {
				return
			}
		}
	}
}

// recorded copies a packet of a file into memory of its own, all in one piece.
func recorded(n int, p pcap.Packet) Recorded {
	b := make([]byte, 0, len(p.Data)+len(p.Tags))
	take := func(data []byte) []byte {
		at := len(b)
		b = append(b, data...)
		return b[at:len(b):len(b)]
	}
	r := Recorded{
		Number: n, Time: p.Time, Link: p.Link, Dir: RecordedDir(p.Dir), Src: p.Src, Dst: p.Dst, VLAN: p.VLAN, EtherType: p.EtherType,
		Packet: take(p.Data), Length: p.Length,
	}
	if p.Tags != nil {
		r.Tags = take(p.Tags)
	}
	return r
}
