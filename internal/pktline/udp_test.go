package pktline_test

import "testing"

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
