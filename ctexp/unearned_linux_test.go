package ctexp_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
	"github.com/ctexp/go-ctexp/internal/redtest"
)

// What nothing could have contradicted is red, and so is a verdict on a packet of another Queue.
func TestAbsenceThatNothingCouldContradictIsRed(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	syn := packet.Packets(packet.SYN(web))
	alone := netnsenv.Config{Links: veth}
	deaf := netnsenv.Config{Links: veth, NoFrames: true}
	tun := netnsenv.Config{Links: []netnsenv.LinkConfig{{Kind: netnsenv.Tun}}}
	wire := netnsenv.Wire{
		A: netnsenv.LinkConfig{Name: "up", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.5.1/24")}},
		B: netnsenv.LinkConfig{Name: "down", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.5.2/24")}},
	}
	sent := func(f *redtest.TB, cfg netnsenv.Config) *ctexp.Experiment {
		x := ctexp.New(f, cfg)
		x.Inject(syn)
		return x
	}
	ended := func(f *redtest.TB, x *ctexp.Experiment) {
		ctexp.Require(f, "await", ctexp.Await(ctx, func() (bool, error) { return x.Env.Failed() != nil, nil }))
	}
	const vacuous = "nothing was sent, dialled or run"
	answered := packet.Flow{Src: question.Dst, Dst: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.254"), 40000)}
	masqueraded := func(f *redtest.TB) *ctexp.Experiment {
		x := ctexp.New(f, holdRouter(netnsenv.NFT("table ip t { chain o { type nat hook postrouting priority srcnat; meta l4proto udp snat to 192.0.2.254:40000; }; }")))
		x.InjectOn("client", packet.Packets(question.UDP(nil)))
		x.InjectOn("server", packet.Packets(answered.UDP(nil)))
		return x
	}
	const byNAT = "but by NAT its packets are those of"
	for name, c := range map[string]struct {
		do   func(f *redtest.TB)
		want string
	}{
		"held since a hold that came too late": {func(f *redtest.TB) { sent(f, alone).Hold(nf.Probe{}).Held() }, vacuous},
		"fates without frames":                 {func(f *redtest.TB) { sent(f, deaf).Fates() }, "NoFrames"},
		"a VLAN where there is no Ethernet":    {func(f *redtest.TB) { sent(f, tun).Frames(packet.Match{VLAN: 5}) }, "no captured packet has an Ethernet header"},
		"ARP where there is no Ethernet": {func(f *redtest.TB) {
			sent(f, tun).Frames(packet.Match{EtherType: packet.EtherTypeARP})
		}, "no captured packet has an Ethernet header"},
		"a program that is not there": {func(f *redtest.TB) {
			x := ctexp.New(f, alone)
			_ = x.Env.Command(ctx, "no-such-program").Run()
			x.Flows()
		}, vacuous},
		"a socket that could not be opened": {func(f *redtest.TB) {
			x := ctexp.New(f, alone)
			_, _ = x.Env.ListenPacket(ctx, "udp", "203.0.113.1:1")
			x.Flows()
		}, vacuous},
		"a program that failed": {func(f *redtest.TB) {
			x := ctexp.New(f, alone)
			c := x.Env.Command(ctx, "sh", "-c", "echo no >&2; exit 3")
			ctexp.Require(f, "start", c.Start())
			ended(f, x)
			x.Flows()
		}, "what should have shown the contrary has failed: sh["},
		"a program that failed, and nothing that left": {func(f *redtest.TB) {
			x := ctexp.New(f, alone)
			c := x.Env.Command(ctx, "sh", "-c", "exit 3")
			ctexp.Require(f, "start", c.Start())
			ended(f, x)
			x.ExpectNothing()
		}, "what should have shown the contrary has failed: sh["},
		"a function that failed": {func(f *redtest.TB) {
			x := ctexp.New(f, alone)
			x.Env.Go(ctx, func(context.Context) error { return errors.New("no luck") })
			ended(f, x)
			x.Flows()
		}, "what should have shown the contrary has failed: a function that Go ran has ended: no luck"},
		"acts of a neighbour before it was joined": {func(f *redtest.TB) {
			a := sent(f, alone)
			b := ctexp.New(f, alone)
			a.Join(b, wire)
			b.Flows()
		}, vacuous},
		"a neighbour that was closed": {func(f *redtest.TB) {
			a := sent(f, alone)
			b := ctexp.New(f, alone)
			a.Join(b, wire)
			ctexp.Require(f, "close", a.Env.Close())
			b.Flows()
		}, vacuous},
		"bytes that came and were not read": {func(f *redtest.TB) {
			x := ctexp.New(f, holdRouter())
			client, server := x.TCP("client", question), x.TCP("server", question.Reverse())
			x.Handshake(client, server)
			client.Write([]byte("hello"))
			server.Read(3)
			server.ExpectNothing()
		}, `2 bytes of the last one that Read took were not read: "lo"`},
		"life of the answer as the client has it":    {func(f *redtest.TB) { masqueraded(f).Life(question.Reverse().Tuple(nf.UDP)) }, byNAT},
		"entry of the question as the server has it": {func(f *redtest.TB) { masqueraded(f).Flow(answered.Reverse().Tuple(nf.UDP)) }, byNAT},
		"verdict on a packet of another queue": {func(f *redtest.TB) {
			x := ctexp.New(f, holdRouter())
			udp := x.Hold(nf.Probe{Hook: nf.Forward, Match: nf.Match{Proto: nf.UDP}})
			tcp := x.Hold(nf.Probe{Hook: nf.Forward, Match: nf.Match{Proto: nf.TCP}})
			x.InjectOn("client", packet.Packets(question.UDP(nil), packet.SYN(question)))
			udp.Held()
			udp.Drop(tcp.Held()...)
		}, netnsenv.ErrNotHeld.Error()},
		"verdict on a packet of another queue elsewhere": {func(f *redtest.TB) {
			x, y := ctexp.New(f, holdRouter()), ctexp.New(f, holdRouter())
			forwarded, came := x.Hold(nf.Probe{Hook: nf.Forward}), y.Hold(nf.Probe{})
			x.InjectOn("client", packet.Packets(question.UDP(nil)))
			y.InjectOn("client", packet.Packets(packet.SYN(question)))
			forwarded.Held()
			forwarded.Drop(came.Held()...)
		}, netnsenv.ErrNotHeld.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &redtest.TB{TestName: t.Name()}
			log := f.Run(c.do)
			needs.Check(t, f.Lack())
			if before, _, _ := strings.Cut(log, "what happened in"); !f.Failed() || !strings.Contains(before, c.want) {
				t.Errorf("failed: %v; want a failure that says %q:\n%s", f.Failed(), c.want, log)
			}
		})
	}
}

// What an Env did while it was joined to another remains done for the other when it is closed.
func TestActsOfJoinedEnvsRemain(t *testing.T) {
	t.Parallel()
	a, b := ctexp.New(t, netnsenv.Config{Links: veth}), ctexp.New(t, netnsenv.Config{Links: veth})
	before := b.Env.Acted()
	a.Inject(packet.Packets(packet.SYN(web)))
	a.Join(b, netnsenv.Wire{
		A: netnsenv.LinkConfig{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.5.1/24")}},
		B: netnsenv.LinkConfig{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.5.2/24")}},
	})
	joined := b.Env.Acted()
	a.Inject(packet.Packets(packet.SYN(web), packet.SYN(web)))
	acted := b.Env.Acted()
	ctexp.Require(t, "close", a.Env.Close())

	want := []uint64{0, 2, 2}
	if diff := ctexp.Diff(want, []uint64{joined - before, acted - before, b.Env.Acted() - before}); diff != "" {
		t.Errorf("acts when joined, after two packets, and when the other is closed (-want +got):\n%s", diff)
	}
}
