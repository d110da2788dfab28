package inject

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/pcapfile"
)

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
	Dir Dir
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
type Dir uint8

// The directions: not known, to the host or through it, and from it.
const (
	DirUnknown Dir = iota
	DirIn
	DirOut
)

// String returns "", "In" or "Out".
func (d Dir) String() string {
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
	if !r.isIP() {
		return s + fmt.Sprintf(" ethertype 0x%04x, length %d", r.EtherType, r.Length)
	}
	return s + " " + r.Packet.String()
}

func (r Recorded) isIP() bool {
	return r.EtherType == header.EtherTypeIPv4 || r.EtherType == header.EtherTypeIPv6
}

func (r Recorded) cut() bool { return r.Length > len(r.Packet) }

// ReadRecording reads a recording in the format pcap or pcapng: of Ethernet, with or without VLAN tags, raw IP, Linux cooked
// captures of both versions, BSD loopback; in pcapng of several interfaces, each of its own kind. It reads while the sequence
// is gone through, which can be done once, and holds one packet at a time, so that the recording may be of any length. The
// packets are in memory of their own.
//
// Where the recording ends too early, or is not as it should be, the last thing in the sequence is an error that names the
// number of the packet.
func ReadRecording(r io.Reader) iter.Seq2[Recorded, error] {
	if r == nil {
		panic("inject: ReadRecording of a nil reader")
	}
	begun := false
	return func(yield func(Recorded, error) bool) {
		if begun {
			yield(Recorded{}, errors.New("recording: it was gone through already, which can be done once"))
			return
		}
		begun = true
		from, err := pcapfile.NewReader(r)
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
func recorded(n int, p pcapfile.Packet) Recorded {
	b := make([]byte, 0, len(p.Data)+len(p.Tags))
	take := func(data []byte) []byte {
		at := len(b)
		b = append(b, data...)
		return b[at:len(b):len(b)]
	}
	r := Recorded{
		Number: n, Time: p.Time, Link: p.Link, Dir: Dir(p.Dir), Src: p.Src, Dst: p.Dst, VLAN: p.VLAN, EtherType: p.EtherType,
		Packet: take(p.Data), Length: p.Length,
	}
	if p.Tags != nil {
		r.Tags = take(p.Tags)
	}
	return r
}
