package netnsenv_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// neighbour is a flow from a host on the same network.
var neighbour = packet.Flow{
	Src: netip.MustParseAddrPort("192.0.2.2:10000"),
	Dst: netip.MustParseAddrPort("192.0.2.1:80"),
}

// ethernet is a host with an Ethernet link.
func ethernet(t testing.TB, arp bool) (*netnsenv.Env, *netnsenv.Link) {
	t.Helper()
	env := open(t, netnsenv.Config{Links: []netnsenv.LinkConfig{{
		Name: "eth0", Kind: netnsenv.Veth, ARP: arp, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")},
	}}})
	return env, env.Link("eth0")
}

// The fence waits for frames of all kinds, except for those that never reach ingress.
func TestFenceCountsFramesOfAllKinds(t *testing.T) {
	t.Parallel()
	_, l := ethernet(t, false)
	syn, host, peer := packet.SYN(neighbour), l.HardwareAddr(), l.PeerHardwareAddr()
	whole := syn.Frame(peer, host)
	typed := func(payload ...byte) packet.Frame {
		return slices.Concat(host[:], peer[:], payload)
	}
	fs := []packet.Frame{
		whole, whole.VLAN(5), whole.VLAN(0), whole.VLAN(5).VLAN(6), whole[:14], whole[:15],
		packet.ARPRequest(peer, neighbour.Src.Addr(), neighbour.Dst.Addr()),
		syn.Frame(peer, nf.MAC{2, 3, 4, 5, 6, 7}), syn.Frame(host, host), syn.Frame(peer, nf.MAC{1, 0, 0x5e, 0, 0, 1}),
		typed(0, 8, 1, 2, 3, 4, 5, 6, 7, 8), typed(0x88, 0xcc, 1, 2, 3), typed(0x81, 0, 0, 5, 8, 0, 1, 2, 3),
		typed(0x81, 0, 1), typed(0x81, 0, 0, 5, 8), typed(0x81, 0, 0, 5, 8, 0, 1), typed(0x88, 0xa8, 0, 5, 8, 0, 1), // cut
		packet.Packet(neighbour.UDP(make([]byte, 1472))).Frame(peer, host).VLAN(5),
	}
	n, err := inject.New(l).SendFrames(t.Context(), packet.Frames(fs...))
	if n != len(fs) || err != nil {
		t.Fatalf("SendFrames = %d, %v, want %d, nil", n, err, len(fs))
	}
}

func TestHostAnswersARP(t *testing.T) {
	t.Parallel()
	_, l := ethernet(t, true)
	peer := l.PeerHardwareAddr()

	sendFrames(t, l, packet.ARPRequest(peer, neighbour.Src.Addr(), neighbour.Dst.Addr()))

	want := packet.ARPReply(l.HardwareAddr(), neighbour.Dst.Addr(), peer, neighbour.Src.Addr())
	if diff := cmp.Diff(want.String(), readFrame(t, l).String()); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
}

// The host sends an ARP request, and sends the packet after the reply.
func TestHostSendsARPRequests(t *testing.T) {
	t.Parallel()
	_, l := ethernet(t, true)
	host, peer := l.HardwareAddr(), nf.MAC{0, 0, 0x5e, 0, 0x53, 9}
	var got []string

	sendFrames(t, l, packet.SYN(neighbour).Frame(peer, host))
	got = append(got, readFrame(t, l).String())
	sendFrames(t, l, packet.ARPReply(peer, neighbour.Src.Addr(), host, neighbour.Dst.Addr()))
	got = append(got, readFrame(t, l).String())

	want := []string{
		fmt.Sprintf("%v > ff:ff:ff:ff:ff:ff, ARP, who has 192.0.2.2 tell 192.0.2.1, length 28", host),
		fmt.Sprintf("%v > %v, IP 192.0.2.1.80 > 192.0.2.2.10000: Flags [R.], seq 0, ack 2, win 0, length 0", host, peer),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what left (-want +got):\n%s", diff)
	}
}

// The host sees the tag, and the packet behind it.
func TestFramesOfAVLANArriveWithTheirTag(t *testing.T) {
	t.Parallel()
	env := open(t, netnsenv.Config{
		Links: []netnsenv.LinkConfig{{Name: "eth0", Kind: netnsenv.Veth}},
		Rules: []netnsenv.Ruleset{netnsenv.NFT(`table netdev t { chain c {
			type filter hook ingress device "eth0" priority 0
			vlan id 5 ip daddr 192.0.2.1 counter
			vlan id 6 counter
		}
		}`)},
	})
	l := env.Link("eth0")
	whole := packet.SYN(web).Frame(l.PeerHardwareAddr(), l.HardwareAddr())

	sendFrames(t, l, whole, whole.VLAN(5), whole.VLAN(5), whole.VLAN(6), whole.VLAN(7))

	out, err := env.Command(t.Context(), "nft", "list", "chain", "netdev", "t", "c").Output()
	if err != nil {
		t.Fatal(err)
	}
	got := regexp.MustCompile(`packets \d+`).FindAllString(string(out), -1)
	if diff := cmp.Diff([]string{"packets 2", "packets 1"}, got); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
}

// Read does not return an ARP request.
func TestReadSkipsFramesWithoutIP(t *testing.T) {
	t.Parallel()
	_, l := ethernet(t, true)
	host, peer := l.HardwareAddr(), l.PeerHardwareAddr()

	sendFrames(t, l, packet.SYN(neighbour).Frame(peer, host), packet.ARPReply(peer, neighbour.Src.Addr(), host, neighbour.Dst.Addr()))

	readable(t, l)
	b := make([]byte, 2000)
	n, err := l.Read(b)
	got := fmt.Sprint(packet.Packet(b[:n]), " ", err)
	want := "IP 192.0.2.1.80 > 192.0.2.2.10000: Flags [R.], seq 0, ack 2, win 0, length 0 <nil>"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what was read (-want +got):\n%s", diff)
	}
}

func TestTunHasNoFrames(t *testing.T) {
	t.Parallel()
	env := open(t, netnsenv.Config{Links: []netnsenv.LinkConfig{{Kind: netnsenv.Tun}}})
	l := env.Links()[0]
	_, werr := l.WriteFrame(make([]byte, 60))
	_, rerr := l.ReadFrame(make([]byte, 60))
	_, serr := inject.New(l).SendFrames(t.Context(), packet.Frames(make(packet.Frame, 60)))
	for what, err := range map[string]error{"WriteFrame": werr, "ReadFrame": rerr, "SendFrames": serr} {
		if err == nil || errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "set LinkConfig.Kind to netnsenv.Veth") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if a, b := l.HardwareAddr(), l.PeerHardwareAddr(); a != (nf.MAC{}) || b != (nf.MAC{}) {
		t.Errorf("addresses %v and %v of a tun", a, b)
	}
}

func TestFramesOfAClosedEnv(t *testing.T) {
	t.Parallel()
	env, l := ethernet(t, false)
	if err := env.Close(); err != nil {
		t.Fatal(err)
	}
	_, werr := l.WriteFrame(make([]byte, 60))
	_, rerr := l.ReadFrame(make([]byte, 60))
	if !errors.Is(werr, netnsenv.ErrClosed) || !errors.Is(rerr, netnsenv.ErrClosed) {
		t.Errorf("WriteFrame: %v, ReadFrame: %v, want %v", werr, rerr, netnsenv.ErrClosed)
	}
}

func TestReadFrameHasADeadline(t *testing.T) {
	t.Parallel()
	_, l := ethernet(t, false)
	if err := l.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.ReadFrame(make([]byte, 60)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want %v", err, os.ErrDeadlineExceeded)
	}
}

func sendFrames(t testing.TB, l *netnsenv.Link, fs ...packet.Frame) {
	t.Helper()
	if _, err := inject.New(l).SendFrames(t.Context(), packet.Frames(fs...)); err != nil {
		t.Fatal(err)
	}
}

func readFrame(t testing.TB, l *netnsenv.Link) packet.Frame {
	t.Helper()
	readable(t, l)
	b := make([]byte, 2000)
	n, err := l.ReadFrame(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

func readable(t testing.TB, l *netnsenv.Link) {
	t.Helper()
	if err := l.SetReadDeadline(latest(t)); err != nil {
		t.Fatal(err)
	}
}
