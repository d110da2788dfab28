package packet_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

var (
	ownMAC, otherMAC = nf.MAC{2, 0, 0, 0, 0, 1}, nf.MAC{2, 0, 0, 0, 0, 2}
	ownIP, otherIP   = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
)

// The messages are those of RFC 826.
func TestARPMessages(t *testing.T) {
	t.Parallel()
	head := []byte{8, 6, 0, 1, 8, 0, 6, 4, 0}
	for name, c := range map[string]struct {
		frame packet.Frame
		want  []byte
	}{
		"request": {
			packet.ARPRequest(ownMAC, ownIP, otherIP),
			bytes.Join([][]byte{bytes.Repeat([]byte{0xff}, 6), ownMAC[:], head, {1}, ownMAC[:], ownIP.AsSlice(), make([]byte, 6), otherIP.AsSlice()}, nil),
		},
		"reply": {
			packet.ARPReply(ownMAC, ownIP, otherMAC, otherIP),
			bytes.Join([][]byte{otherMAC[:], ownMAC[:], head, {2}, ownMAC[:], ownIP.AsSlice(), otherMAC[:], otherIP.AsSlice()}, nil),
		},
	} {
		if diff := cmp.Diff(c.want, []byte(c.frame)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Frames yields copies, and no more than are taken.
func TestFramesAreCopies(t *testing.T) {
	t.Parallel()
	first, second := packet.ARPRequest(ownMAC, ownIP, otherIP), packet.ARPReply(ownMAC, ownIP, otherMAC, otherIP)
	var all []packet.Frame
	for f := range packet.Frames(first, second) {
		all = append(all, f)
	}
	if diff := cmp.Diff([]packet.Frame{first, second}, all); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for f := range packet.Frames(first, second) {
		if f[0]++; !bytes.Equal(all[0], first) {
			t.Error("a change of what is yielded changes the frame")
		}
		break
	}
}
