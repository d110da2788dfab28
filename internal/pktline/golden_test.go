package pktline_test

import (
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/packet"
	goldenfile "github.com/ctexp/go-ctexp/internal/golden"
	"github.com/ctexp/go-ctexp/internal/pktline"
)

// sample is a packet and what its line shows.
type sample struct {
	why    string
	packet []byte
}

// golden compares the lines of the samples with those in a file of testdata.
func golden(t *testing.T, file string, samples ...sample) {
	t.Helper()
	lines(t, file, pktline.Format, samples...)
}

// lines compares the samples formatted by format with a file of testdata.
func lines(t *testing.T, file string, format func([]byte) string, samples ...sample) {
	t.Helper()
	var w strings.Builder
	for _, s := range samples {
		w.WriteString(s.why + "\n\t" + format(s.packet) + "\n")
	}
	goldenfile.Check(t, file, w.String())
}

// build returns the packet of the layers, which must be valid.
func build(ls ...gopacket.SerializableLayer) packet.Packet {
	p, err := packet.Build(ls...)
	if err != nil {
		panic(err)
	}
	return p
}

// set returns a copy of p with the bytes at the offset replaced.
func set(p []byte, offset int, b ...byte) []byte {
	p = append([]byte(nil), p...)
	copy(p[offset:], b)
	return p
}

func ip4() *layers.IPv4 {
	return &layers.IPv4{TTL: 64, SrcIP: []byte{198, 18, 0, 2}, DstIP: []byte{192, 0, 2, 1}}
}

func ip6() *layers.IPv6 {
	src := [16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 2}
	dst := [16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 1}
	return &layers.IPv6{HopLimit: 64, SrcIP: src[:], DstIP: dst[:]}
}

func tcp() *layers.TCP {
	return &layers.TCP{SrcPort: 10000, DstPort: 80, Seq: 1, SYN: true, Window: 65535}
}

func udp() *layers.UDP { return &layers.UDP{SrcPort: 10000, DstPort: 53} }

func bytes(n int) gopacket.Payload { return make(gopacket.Payload, n) }
