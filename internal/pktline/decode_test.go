package pktline_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/internal/pktline"
)

func TestDecodeEndsWithWhatItCouldNotRead(t *testing.T) {
	t.Parallel()
	p := build(ip4(), tcp())
	got := map[string][]string{}
	for name, b := range map[string][]byte{
		"whole": p, "cut TCP": p[:30], "cut IP": p[:10], "nothing": nil, "another version": set(p, 0, 0x50),
		"IPv6": build(ip6(), &layers.UDP{SrcPort: 10000, DstPort: 10001}, bytes(3)),
	} {
		d := pktline.Decode(b)
		for _, l := range d.Layers() {
			got[name] = append(got[name], l.LayerType().String())
		}
		if e := d.ErrorLayer(); e != nil {
			got[name] = append(got[name], e.Error().Error())
		}
	}
	want := map[string][]string{
		"whole":           {"IPv4", "TCP"},
		"cut TCP":         {"IPv4", "TCP", "DecodeFailure", "Invalid TCP header. Length 10 less than 20"},
		"cut IP":          {"IPv4", "DecodeFailure", "Invalid ip4 header. Length 10 less than 20"},
		"nothing":         {"DecodeFailure", "empty packet"},
		"another version": {"DecodeFailure", "IP version 5 is neither 4 nor 6"},
		"IPv6":            {"IPv6", "UDP", "Payload"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("layers (-want +got):\n%s", diff)
	}
}

func TestDecodeCopies(t *testing.T) {
	t.Parallel()
	p := build(ip4(), udp(), bytes(5))
	d := pktline.Decode(p)
	want := append([]byte(nil), p...)

	clear(p)

	if diff := cmp.Diff(want, d.Data()); diff != "" {
		t.Errorf("data after the packet was overwritten (-want +got):\n%s", diff)
	}
}

// FuzzDecode checks that Decode returns, whatever comes, and that what it returns can be printed.
func FuzzDecode(f *testing.F) {
	for _, p := range seeds() {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d := pktline.Decode(b)
		for _, l := range d.Layers() {
			l.LayerContents()
			l.LayerPayload()
		}
		if len(b) == 0 && d.ErrorLayer() == nil {
			t.Error("an empty packet has no error layer")
		}
	})
}
