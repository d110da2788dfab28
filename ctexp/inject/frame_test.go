package inject_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func ExampleFrame() {
	host, peer := nf.MAC{2, 0, 0, 0, 0, 1}, nf.MAC{2, 0, 0, 0, 0, 2}
	fmt.Println(packet.SYN(web).Frame(peer, host).VLAN(5))
	fmt.Println(packet.ARPRequest(peer, web.Src.Addr(), web.Dst.Addr()))
	// Output:
	// 02:00:00:00:00:02 > 02:00:00:00:00:01, vlan 5, IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
	// 02:00:00:00:00:02 > ff:ff:ff:ff:ff:ff, ARP, who has 192.0.2.1 tell 198.18.0.2, length 28
}

func TestAFrameCarriesItsPacket(t *testing.T) {
	t.Parallel()
	got := map[string]string{}
	for name, f := range frames() {
		if p := f.Packet(); p != nil {
			got[name] = fmt.Sprint(len(f)-len(p), " ", p)
		}
	}
	want := map[string]string{
		"frame": "14 " + packet.SYN(web).String(), "frame ipv6": "14 " + packet.SYN(web6).String(),
		"vlan": "18 " + packet.SYN(web).String(), "two vlans": "22 " + packet.SYN(web6).String(),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("packets (-want +got):\n%s", diff)
	}
}

func TestImpossibleFramesPanic(t *testing.T) {
	t.Parallel()
	mac := nf.MAC{2, 0, 0, 0, 0, 1}
	got := []string{
		panicOf(func() { packet.SYN(web).Frame(mac, mac).VLAN(4096) }),
		panicOf(func() { packet.Frame{1}.VLAN(1) }),
		panicOf(func() { packet.ARPRequest(mac, web.Src.Addr(), web6.Dst.Addr()) }),
		panicOf(func() { inject.New(&link{}).SendFrames(context.Background(), nil) }),
	}
	want := []string{
		"packet: VLAN 4096 on " + packet.SYN(web).Frame(mac, mac).String(),
		"packet: VLAN 1 on Ethernet header cut after 1 bytes",
		"packet: ARP between 198.18.0.2 and 2001:db8::1: it is for IPv4",
		"inject: SendFrames of a nil sequence",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("panics (-want +got):\n%s", diff)
	}
}

func TestALinkWithoutEthernetRefusesFrames(t *testing.T) {
	t.Parallel()
	n, err := inject.New(&link{}).SendFrames(t.Context(), packet.Frames(packet.Frame{}))

	want := "0 send frames to fake0: needs a veth link: the link has no Ethernet (LinkConfig.Kind: netnsenv.Veth)"
	if diff := cmp.Diff(want, fmt.Sprint(n, " ", err)); diff != "" || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// ether is a link that takes frames up to the second.
type ether struct {
	link
	frames []packet.Frame
}

func (*ether) L2() bool { return true }

func (*ether) HardwareAddr() nf.MAC { return serverMAC }

func (*ether) PeerHardwareAddr() nf.MAC { return clientMAC }

func (e *ether) WriteFrame(b []byte) (int, error) {
	if len(e.frames) == 2 {
		return 0, errors.New("enough")
	}
	e.frames = append(e.frames, b)
	return len(b), nil
}

func TestSendFramesStopsAtTheFirstFailureAndFences(t *testing.T) {
	t.Parallel()
	e := &ether{}
	fs := slices.Repeat([]packet.Frame{make(packet.Frame, 14)}, 4)

	n, err := inject.New(e).SendFrames(t.Context(), packet.Frames(fs...))

	got := fmt.Sprint(n, " ", err, " ", e.frames, " ", len(e.fences))
	want := fmt.Sprint(2, " send frame 3 to fake0: enough ", fs[:2], " ", 1)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What does not fit is told in the words of Send, before the kernel has words of its own.
func TestFramesThatDoNotFitAreNotSent(t *testing.T) {
	t.Parallel()
	full := web.UDP(make([]byte, 1472)).Frame(clientMAC, serverMAC)
	large := web.UDP(make([]byte, 1473)).Frame(clientMAC, serverMAC)
	got := map[string]string{}
	for name, f := range map[string]packet.Frame{
		"nothing": nil, "cut": {1, 2, 3}, "full": full, "full in a VLAN": full.VLAN(1), "full in two": full.VLAN(1).VLAN(2),
		"large": large, "large in a VLAN": large.VLAN(1), "cut tag": append(full[:12:12], 0x81, 0, 1),
	} {
		_, err := inject.New(&ether{}).SendFrames(t.Context(), packet.Frames(f))
		if failed := (*inject.SendError)(nil); errors.As(err, &failed) {
			err = failed.Err
		}
		got[name] = fmt.Sprint(err)
	}
	want := map[string]string{
		"nothing": "0 bytes: want 14 or more", "cut": "3 bytes: want 14 or more", "full": "<nil>", "full in a VLAN": "<nil>",
		"full in two":     "1522 bytes with 2 tags into 1518: message too long",
		"large":           "1501 bytes into an MTU of 1500: message too long",
		"large in a VLAN": "1501 bytes into an MTU of 1500: message too long",
		"cut tag":         "<nil>",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
