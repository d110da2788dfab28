package ctexp_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Who has 192.0.2.1? The host under test answers, and its answer leaves by the link that the question came in by.
func TestFramesAreInjected(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Links: []netnsenv.LinkConfig{{Kind: netnsenv.Veth, ARP: true}}})
	link := x.Env.Links()[0]
	who, neighbour := link.PeerHardwareAddr(), netip.MustParseAddr("192.0.2.2")

	x.InjectFrames(link.Name(), packet.Frames(packet.ARPRequest(who, neighbour, web.Dst.Addr())))

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

// A tun has no Ethernet frames. The machine lacks nothing, so a test does not skip.
func TestFramesNeedEthernet(t *testing.T) {
	t.Parallel()
	lab, err := ctexp.Open(t.Context(), netnsenv.Config{Links: []netnsenv.LinkConfig{{Name: "tun0", Kind: netnsenv.Tun}}})
	ctexp.Require(t, "open a tun", err)
	defer lab.Close()

	_, err = lab.InjectFrames(t.Context(), "tun0", packet.Frames(packet.SYN(web).Frame(nf.MAC{}, nf.MAC{})))

	if err == nil || errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "set LinkConfig.Kind to netnsenv.Veth") {
		t.Errorf("frames to a tun: %v", err)
	}
}

// The error for a packet that cannot be sent has its number and a clear reason instead of the errno alone.
func TestWhatCannotBeInjectedSaysWhy(t *testing.T) {
	t.Parallel()
	cfg := netnsenv.Config{Links: []netnsenv.LinkConfig{
		{Name: "tun0", Kind: netnsenv.Tun, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}},
		{Name: "eth0", Kind: netnsenv.Veth},
	}}
	open := func() *ctexp.Lab {
		lab, err := ctexp.Open(t.Context(), cfg)
		ctexp.Require(t, "open a tun", err)
		t.Cleanup(func() { _ = lab.Close() })
		return lab
	}
	x, y := open(), open()
	end := func(addr string) netnsenv.LinkConfig {
		return netnsenv.LinkConfig{Prefixes: []netip.Prefix{netip.MustParsePrefix(addr)}}
	}
	ctexp.Require(t, "join", x.Join(t.Context(), y, netnsenv.Wire{A: end("10.0.0.1/30"), B: end("10.0.0.2/30")}))
	syn := packet.SYN(web)
	five := syn.With(packet.Version(5))
	got := map[string]string{}
	say := func(name string, err error) { got[name] = fmt.Sprint(err) }
	by := func(link string, packets ...packet.Packet) error {
		_, err := x.InjectOn(t.Context(), link, packet.Packets(packets...))
		return err
	}
	say("version", by("tun0", syn, five))
	say("no link", by("eth9", syn))
	say("wire", by("wire0", syn))
	_, err := x.InjectFrames(t.Context(), "eth0", packet.Frames(packet.Frame{1, 2, 3}))
	say("frame", err)
	_, err = x.States(t.Context(), web.Tuple(nf.TCP), packet.Packets(syn, five))
	say("states", err)
	_, err = ctexp.Compare(t.Context(), cfg, []ctexp.Policy{{}, {}}, packet.Packets(syn, five))
	say("compare", err)

	const version = "send packet 2 to tun0: IP version 5: a tun takes only IPv4 and IPv6: use a veth (LinkConfig.Kind): write tun: invalid argument"
	want := map[string]string{
		"version": version,
		"no link": `ctexp: inject: the Env has no link "eth9"; there are tun0, eth0`,
		"wire":    "ctexp: inject: wire0 is an interface, such as a wire, but not a link of the Env; there are tun0, eth0",
		"frame":   "send frame 1 to eth0: 3 bytes: want 14 or more",
		"states":  version,
		"compare": fmt.Sprintf("ctexp: compare: policy %q: %s\npolicy %q: %s", "policy 1", version, "policy 2", version),
	}
	if diff := ctexp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
