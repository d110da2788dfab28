package pktline_test

import (
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/pktline"
)

func TestTransportIsFoundBehindAnyHeader(t *testing.T) {
	t.Parallel()
	type found struct {
		Proto nf.Proto
		Size  int    // -1: nil
		Ports string // in hexadecimal
	}
	whole := build(ip4(), udp())
	const ports = "27100035"
	got, want := map[string]found{}, map[string]found{}
	for _, c := range []struct {
		name   string
		packet []byte
		want   found
	}{
		{"IPv4", whole, found{nf.UDP, 8, ports}},
		{"a trailer is not of the packet", append(whole[:len(whole):len(whole)], "trailer"...), found{nf.UDP, 8, ports}},
		{"IPv6", build(ip6(), udp()), found{nf.UDP, 8, ports}},
		{"behind extension headers", extended(), found{nf.UDP, 13, ports}},
		{"first fragment", fragment4(0), found{nf.UDP, 1480, ports}},
		{"later fragment", fragment4(8), found{nf.UDP, -1, ""}},
		{"later fragment of IPv6", fragment6(8), found{nf.UDP, -1, ""}},
		{"nothing behind the header", whole[:20], found{nf.UDP, 0, ""}},
		{"header cut", whole[:19], found{0, -1, ""}},
		{"bad header length", set(whole, 0, 0x44), found{nf.UDP, -1, ""}},
		{"nothing", nil, found{0, -1, ""}},
	} {
		proto, l4 := pktline.Transport(c.packet)
		f := found{proto, len(l4), hex.EncodeToString(l4[:min(4, len(l4))])}
		if l4 == nil {
			f.Size = -1
		}
		got[c.name], want[c.name] = f, c.want
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What is found lies in the packet.
func FuzzTransport(f *testing.F) {
	for _, p := range seeds() {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, l4 := pktline.Transport(b); len(l4) > len(b)-20 && l4 != nil {
			t.Errorf("%d bytes in a packet of %d", len(l4), len(b))
		}
	})
}
