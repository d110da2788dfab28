package pktline_test

import (
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

func TestICMPErrorsQuoteWhatTheyAreAbout(t *testing.T) {
	t.Parallel()
	about := func(typ, code uint8) *layers.ICMPv4 {
		return &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(typ, code)}
	}
	needed := about(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeFragmentationNeeded)
	needed.Seq = 576
	redirect := about(layers.ICMPv4TypeRedirect, layers.ICMPv4CodeHost)
	redirect.Id, redirect.Seq = 192<<8, 2<<8|9
	segment := build(ip4(), tcp())
	golden(t, "icmp.golden",
		sample{"echo request", build(ip4(), &layers.ICMPv4{TypeCode: 8 << 8, Id: 1, Seq: 2}, bytes(5))},
		sample{"echo reply", build(ip4(), &layers.ICMPv4{TypeCode: 0, Id: 1, Seq: 2})},
		sample{"time stamp", build(ip4(), about(13, 0), bytes(12))},
		sample{"port unreachable", build(ip4(), unreachable(), ip4(), udp(), bytes(5))},
		sample{"fragmentation needed, eight bytes quoted", build(ip4(), needed, segmentStart(segment, 28))},
		sample{"redirect, nothing behind the addresses quoted", build(ip4(), redirect, segmentStart(segment, 20))},
		sample{"time exceeded", build(ip4(), about(layers.ICMPv4TypeTimeExceeded, 0), ip4(), tcp())},
		sample{"an unknown code", build(ip4(), about(layers.ICMPv4TypeDestinationUnreachable, 77), ip4(), udp())},
		sample{"an unknown type", build(ip4(), about(200, 1))},
		sample{"nothing quoted", build(ip4(), unreachable())},
		sample{"garbage quoted", build(ip4(), unreachable(), bytes(4))},
		sample{"an error about an error about an error",
			build(ip4(), unreachable(), ip4(), unreachable(), ip4(), unreachable(), ip4(), udp())},
		sample{"half a header", build(ip4(), unreachable())[:24]},
	)
}

func unreachable() *layers.ICMPv4 {
	return &layers.ICMPv4{
		TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodePort),
	}
}

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
