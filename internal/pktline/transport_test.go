package pktline_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/internal/pktline"
)

func TestSegmentsReadAsInTcpdump(t *testing.T) {
	t.Parallel()
	segment := func(change func(*layers.TCP)) []byte {
		s := &layers.TCP{SrcPort: 10000, DstPort: 80, Seq: 1, Ack: 2, Window: 512}
		change(s)
		return build(ip4(), s)
	}
	option := func(kind layers.TCPOptionKind, data ...byte) layers.TCPOption {
		return layers.TCPOption{OptionType: kind, OptionData: data}
	}
	push := &layers.TCP{SrcPort: 10000, DstPort: 80, Seq: 0xffffffff, Ack: 2, PSH: true, ACK: true, Window: 512}
	options := segment(func(s *layers.TCP) {
		s.SYN = true
		s.Options = []layers.TCPOption{
			option(layers.TCPOptionKindMSS, 5, 180), option(layers.TCPOptionKindSACKPermitted),
			option(layers.TCPOptionKindTimestamps, 0, 0, 0, 1, 0, 0, 0, 2), option(layers.TCPOptionKindNop),
			option(layers.TCPOptionKindWindowScale, 7), option(253, 1, 2), option(layers.TCPOptionKindEndList),
		}
	})
	sack := segment(func(s *layers.TCP) {
		s.ACK = true
		s.Options = []layers.TCPOption{option(layers.TCPOptionKindSACK, 0, 0, 0, 5, 0, 0, 0, 9)}
	})
	whole := build(ip4(), tcp(), bytes(5))
	golden(t, "tcp.golden",
		sample{"SYN", segment(func(s *layers.TCP) { s.SYN = true })},
		sample{"SYN and ACK", segment(func(s *layers.TCP) { s.SYN, s.ACK = true, true })},
		sample{"FIN and ACK", segment(func(s *layers.TCP) { s.FIN, s.ACK = true, true })},
		sample{"RST", segment(func(s *layers.TCP) { s.RST = true })},
		sample{"ECN", segment(func(s *layers.TCP) { s.SYN, s.ECE, s.CWR, s.NS = true, true, true, true })},
		sample{"NS alone", segment(func(s *layers.TCP) { s.NS = true })},
		sample{"urgent", segment(func(s *layers.TCP) { s.URG, s.Urgent = true, 3 })},
		sample{"no flags", segment(func(*layers.TCP) {})},
		sample{"data over the end of the sequence numbers", build(ip4(), push, bytes(5))},
		sample{"options", options},
		sample{"SACK", sack},
		sample{"an option longer than the header", set(options, 41, 200)},
		sample{"the last option without a length", set(sack, 40, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 253)},
		sample{"data that is not there", whole[:42]},
		sample{"half a header", whole[:30]},
		sample{"ports alone", whole[:24]},
		sample{"half of the ports", whole[:22]},
		sample{"header length below 20", set(whole, 32, 0x40)},
		sample{"header length beyond the packet", set(whole, 32, 0xf0)},
	)
}

func TestFlagsReadAsInTcpdump(t *testing.T) {
	t.Parallel()
	got := map[uint8]string{}
	for _, bits := range []uint8{0, 0x01, 0x02, 0x11, 0x12, 0x14, 0x18, 0xff} {
		got[bits] = pktline.Flags(bits)
	}
	want := map[uint8]string{
		0: "none", 0x01: "F", 0x02: "S", 0x11: "F.", 0x12: "S.", 0x14: "R.", 0x18: "P.", 0xff: "FSRP.UEW",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("flags (-want +got):\n%s", diff)
	}
}

func TestDatagramsHaveTheirOwnLength(t *testing.T) {
	t.Parallel()
	p := build(ip4(), udp(), bytes(5))
	golden(t, "udp.golden",
		sample{"five bytes", p},
		sample{"none", build(ip4(), udp())},
		sample{"five bytes, one of which is here", p[:29]},
		sample{"half a header", p[:24]},
		sample{"a length that leaves out the end", set(p, 24, 0, 10)},
		sample{"a length beyond the packet's", set(p, 24, 1, 0)},
		sample{"a length below the header's", set(p, 24, 0, 7)},
		sample{"a length of zero", set(p, 24, 0, 0)},
	)
}
