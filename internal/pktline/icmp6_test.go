package pktline_test

import (
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

func TestICMPv6MessagesAreNamed(t *testing.T) {
	t.Parallel()
	message := func(typ, code uint8) *layers.ICMPv6 {
		return &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(typ, code)}
	}
	neighbor := func(typ uint8) []byte {
		return build(ip6(), message(typ, 0), bytes(4), gopacket.Payload(ip6().DstIP))
	}
	segment := build(ip6(), tcp())
	golden(t, "icmp6.golden",
		sample{"echo request",
			build(ip6(), message(128, 0), &layers.ICMPv6Echo{Identifier: 1, SeqNumber: 2}, bytes(5))},
		sample{"echo reply", build(ip6(), message(129, 0), &layers.ICMPv6Echo{Identifier: 1, SeqNumber: 2})},
		sample{"port unreachable", build(ip6(), message(1, 4), bytes(4), ip6(), udp())},
		sample{"packet too big, eight bytes quoted", build(ip6(), tooBig(), gopacket.Payload{0, 0, 5, 0}, segmentStart(segment, 48))},
		sample{"hop limit", build(ip6(), message(3, 0), bytes(4), ip6(), udp())},
		sample{"neighbor solicitation", neighbor(135)},
		sample{"neighbor advertisement", neighbor(136)},
		sample{"redirect", neighbor(137)},
		sample{"a solicitation without its target", build(ip6(), message(135, 0), bytes(4))},
		sample{"router solicitation", build(ip6(), message(133, 0), bytes(4))},
		sample{"listener report", build(ip6(), message(143, 0), bytes(4))},
		sample{"an unknown type", build(ip6(), message(200, 1), bytes(4))},
		sample{"half a header", build(ip6(), message(128, 0))},
	)
}

func tooBig() *layers.ICMPv6 {
	return &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypePacketTooBig, 0)}
}

// segmentStart returns what an error quotes of p.
func segmentStart(p []byte, n int) gopacket.Payload { return gopacket.Payload(p[:n]) }
