package packettest

import (
	"bytes"
	"io"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"github.com/ctexp/go-ctexp/internal/pcap"
)

// Began is when the first packet of a recording was seen.
var Began = time.Unix(1_700_000_000, 0).UTC()

// Recording returns a pcapng file of packets, one in a millisecond. They came in by the first link unless they say otherwise.
func Recording(links []string, packets ...pcap.Packet) []byte {
	var b bytes.Buffer
	w, err := pcap.NewWriter(&b, pcap.File{Links: links})
	must(err)
	for i, p := range packets {
		if p.Link == "" {
			p.Link = links[0]
		}
		if p.Dir == pcap.Unknown {
			p.Dir = pcap.In
		}
		p.Time = Began.Add(time.Duration(i) * time.Millisecond)
		must(w.Write(p))
	}
	must(w.Flush())
	return b.Bytes()
}

// Ethernet returns a pcap file of frames, which it cuts at snap bytes.
func Ethernet(snap int, frames ...[]byte) []byte {
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	must(w.WriteFileHeader(uint32(snap), layers.LinkTypeEthernet))
	for _, f := range frames {
		n := min(snap, len(f))
		must(w.WritePacket(gopacket.CaptureInfo{Timestamp: Began, CaptureLength: n, Length: len(f)}, f[:n]))
	}
	return b.Bytes()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// Repeated is a file that has its last packets so many times more.
type Repeated struct {
	Head, Packets []byte
	Times         int

	rest []byte
}

// Read implements io.Reader.
func (r *Repeated) Read(p []byte) (int, error) {
	if r.Head != nil {
		r.rest, r.Head = r.Head, nil
	}
	if len(r.rest) == 0 {
		if r.Times--; r.Times < 0 {
			return 0, io.EOF
		}
		r.rest = r.Packets
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
