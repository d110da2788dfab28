package observe

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/links"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// Frames of the loopback link are recorded once, those of far ends not at all, and a frame that was cut has its length.
func TestWhichFramesAreRecorded(t *testing.T) {
	t.Parallel()
	c := capture{lo: 1, links: links.Names{1: "lo", 2: "tun0", 3: ours.FarPrefix + "tun0"}, log: framelog{limit: 10}}
	syn := packet.SYN(packet.Flow{Src: netip.MustParseAddrPort("198.18.0.2:10000"), Dst: netip.MustParseAddrPort("192.0.2.1:80")})
	for _, f := range []rawFrame{
		{link: 1, direction: unix.PACKET_OUTGOING}, {link: 1, direction: unix.PACKET_HOST}, {link: 2, direction: unix.PACKET_OUTGOING},
		{link: 2, direction: unix.PACKET_HOST, missing: 5}, {link: 3, direction: unix.PACKET_HOST},
	} {
		f.bytes, f.protocol, f.hardware = syn, header.EtherTypeIPv4, unix.ARPHRD_NONE
		c.add(-1, f)
	}
	frames, _ := c.log.snapshot()
	type frame struct {
		link   string
		dir    packet.Dir
		length int
	}
	var got []frame
	for f := range frames.all() {
		got = append(got, frame{f.Link, f.Dir, f.Length})
	}
	want := []frame{{"lo", packet.In, 0}, {"tun0", packet.Out, 0}, {"tun0", packet.In, len(syn) + 5}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(frame{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Without control messages a datagram says nothing about the frame.
func TestFramesWithoutControlMessages(t *testing.T) {
	t.Parallel()
	for _, control := range [][]byte{nil, {1, 2, 3}} {
		if network, tag := auxdata(control); network != 0 || tag != (vlanTag{}) {
			t.Errorf("%v: the packet is at %d, tag %v", control, network, tag)
		}
	}
}
