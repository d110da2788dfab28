package ctexp_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

// Who has 192.0.2.1? The host under test answers, and its answer leaves by the link that the question came in by.
func TestFramesAreInjected(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Links: []netnsenv.LinkConfig{{Kind: netnsenv.Veth, ARP: true}}})
	link := x.Env.Links()[0]
	who, neighbour := link.PeerHardwareAddr(), netip.MustParseAddr("192.0.2.2")

	x.InjectFrames(link.Name(), inject.Frames(inject.ARPRequest(who, neighbour, web.Dst.Addr())))

	want := []string{
		"In  ARP, who has 192.0.2.1 tell 192.0.2.2, length 28",
		fmt.Sprintf("Out ARP, 192.0.2.1 is at %v, length 28", link.HardwareAddr()),
	}
	var got []string
	for _, f := range x.Frames() {
		_, line, _ := strings.Cut(f.String(), link.Name()+" ")
		got = append(got, line)
	}
	if diff := ctexp.Diff(want, got); diff != "" {
		t.Errorf("a question by ARP (-want +got):\n%s", diff)
	}
}

// A tun has no frames: what is lacking is a need like others.
func TestFramesNeedEthernet(t *testing.T) {
	t.Parallel()
	lab, err := ctexp.Open(t.Context(), netnsenv.Config{Links: []netnsenv.LinkConfig{{Name: "tun0", Kind: netnsenv.Tun}}})
	ctexp.Require(t, "open a tun", err)
	defer lab.Close()

	_, err = lab.InjectFrames(t.Context(), "tun0", inject.Frames(inject.SYN(web).Frame(make(net.HardwareAddr, 6), make(net.HardwareAddr, 6))))

	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("frames to a tun: %v, want an error that answers to errors.ErrUnsupported", err)
	}
}
