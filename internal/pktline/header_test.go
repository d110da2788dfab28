package pktline_test

import (
	"testing"

	"github.com/google/gopacket/layers"
)

func TestFragmentsSayWhereTheyBelong(t *testing.T) {
	t.Parallel()
	golden(t, "fragment.golden",
		sample{"the first one has ports", fragment4(0)},
		sample{"a later one has none", fragment4(1480)},
		sample{"the first one of IPv6", fragment6(0)},
		sample{"a later one of IPv6", fragment6(1480)},
	)
}

func TestExtensionHeadersArePassedOver(t *testing.T) {
	t.Parallel()
	p := extended()
	golden(t, "extension.golden",
		sample{"destination options, then UDP", p},
		sample{"cut within the extension", p[:44]},
		sample{"cut behind it", p[:48]},
		sample{"an extension longer than the packet", set(p, 41, 200)},
		sample{"no next header", build(func() *layers.IPv6 { h := ip6(); h.NextHeader = 59; return h }())},
		sample{"hop-by-hop without a length is a jumbogram", set(set(p, 4, 0, 0), 6, 0)},
	)
}

func TestBrokenHeadersAreNamed(t *testing.T) {
	t.Parallel()
	p4, p6 := build(ip4(), tcp()), build(ip6(), tcp())
	opts := ip4()
	opts.Options = []layers.IPv4Option{{OptionType: 7, OptionLength: 4, OptionData: []byte{0, 0}}}
	golden(t, "broken.golden",
		sample{"nothing", nil},
		sample{"another version", set(p4, 0, 0x50)},
		sample{"one byte", p4[:1]},
		sample{"half an IPv4 header", p4[:10]},
		sample{"half an IPv6 header", p6[:20]},
		sample{"IPv4 header length below 20", set(p4, 0, 0x44)},
		sample{"IPv4 header length beyond the packet", set(p4[:22], 0, 0x46)},
		sample{"IPv4 length below the header", set(p4, 2, 0, 10)},
		sample{"IPv4 length beyond the packet", set(p4, 2, 0, 60)},
		sample{"IPv4 length below the packet", set(build(ip4(), udp(), bytes(5)), 2, 0, 30)},
		sample{"IPv4 option of no length", set(build(opts, udp()), 21, 0)},
		sample{"IPv6 length beyond the packet", set(p6, 4, 0, 60)},
		sample{"IPv6 length of zero", set(p6, 4, 0, 0)},
	)
}

// fragment4 returns an IPv4 fragment at the offset with more to come.
func fragment4(offset int) []byte {
	ip := ip4()
	ip.Id, ip.Flags, ip.FragOffset = 7, layers.IPv4MoreFragments, uint16(offset/8)
	return set(build(ip, udp(), bytes(1472)), 24, 2000>>8, 2000&0xff) // the datagram is longer than its fragment
}

// fragment6 returns an IPv6 fragment at the offset with more to come.
func fragment6(offset int) []byte {
	ip := ip6()
	ip.NextHeader = layers.IPProtocolIPv6Fragment
	header := bytes(8)
	header[0], header[2], header[3], header[7] = byte(layers.IPProtocolUDP), byte(offset>>8), byte(offset)|1, 9
	return build(ip, header, udp(), bytes(8))
}

// extended returns a UDP datagram behind destination options.
func extended() []byte {
	ip := ip6()
	ip.NextHeader = layers.IPProtocolIPv6Destination
	header := bytes(8)
	header[0], header[2], header[3] = byte(layers.IPProtocolUDP), 1, 4 // PadN
	return build(ip, header, udp(), bytes(5))
}
