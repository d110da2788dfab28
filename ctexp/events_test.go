package ctexp_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// router forwards between the clients of web, behind tun0, and its server, behind tun1.
var router = netnsenv.Config{
	Links: []netnsenv.LinkConfig{
		{Prefixes: []netip.Prefix{netip.MustParsePrefix("198.18.0.1/24")}},
		{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.254/24")}},
	},
	Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
	Silent:  true,
}

// connection is a TCP connection that is opened and closed, as a router sees it.
func connection(f inject.Flow) []inject.Packet {
	r := f.Reverse()
	return []inject.Packet{
		inject.SYN(f), inject.SYNACK(r), inject.ACK(f),
		inject.FIN(f),
		r.TCP(inject.TCP{Flags: inject.FlagACK, Seq: 2, Ack: 3}),
		r.TCP(inject.TCP{Flags: inject.FlagFIN | inject.FlagACK, Seq: 2, Ack: 3}),
		f.TCP(inject.TCP{Flags: inject.FlagACK, Seq: 3, Ack: 3}),
	}
}

// After each packet of a connection its entry is in the state that the tracker's table says.
func TestStatesOfAConnection(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, router)
	flow := web.Tuple(nf.TCP)

	got := x.States(flow, inject.Packets(connection(web)...))

	want := []string{
		"SYN_SENT [UNREPLIED]", "SYN_RECV", "ESTABLISHED [ASSURED]",
		"FIN_WAIT [ASSURED]", "CLOSE_WAIT [ASSURED]", "LAST_ACK [ASSURED]", "TIME_WAIT [ASSURED]",
	}
	if diff := ctexp.Diff(want, got); diff != "" {
		t.Errorf("after each packet (-want +got):\n%s", diff)
	}
}

// The same connection by its events; what is flushed is destroyed.
func TestLifeOfAConnection(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, router)
	flow := web.Tuple(nf.TCP)
	x.States(flow, inject.Packets(connection(web)...))
	if n := x.Flush(); n != 1 {
		t.Errorf("%d entries were flushed, want 1", n)
	}

	want := []string{
		"NEW SYN_SENT", "UPDATE SYN_RECV", "UPDATE ESTABLISHED [ASSURED]",
		"UPDATE FIN_WAIT [ASSURED]", "UPDATE CLOSE_WAIT [ASSURED]", "UPDATE LAST_ACK [ASSURED]", "UPDATE TIME_WAIT [ASSURED]", "DESTROY",
	}
	if diff := ctexp.Diff(want, x.Life(flow)); diff != "" {
		t.Errorf("life (-want +got):\n%s", diff)
	}
	if nobody := inject.SYN(web.Nth(1)).Tuple(); x.Life(nobody) != nil {
		t.Errorf("a flow that never was has a life: %q", x.Life(nobody))
	}
}

// A RST in answer to a SYN ends the flow, which is never established.
func TestResetFlowIsNeverEstablished(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, router)
	flow := web.Tuple(nf.TCP)

	got := x.States(flow, inject.Packets(
		inject.SYN(web),
		web.Reverse().TCP(inject.TCP{Flags: inject.FlagRST | inject.FlagACK, Ack: 2}),
	))

	if want := []string{"SYN_SENT [UNREPLIED]", "none"}; ctexp.Diff(want, got) != "" {
		t.Errorf("after each packet: %q, want %q", got, want)
	}
	life := x.Life(flow)
	if want := []string{"NEW SYN_SENT", "DESTROY"}; ctexp.Diff(want, life) != "" {
		t.Errorf("life: %q, want %q", life, want)
	}
	if slices.ContainsFunc(life, func(s string) bool { return strings.Contains(s, "ESTABLISHED") }) {
		t.Error("it was established")
	}
}

// Only what the filter selects is flushed.
func TestFlushByFilter(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true})
	x.Inject(inject.Concat(inject.SYNs(3, web), inject.UDPs(2, web)))
	if n := x.Flush(nf.Filter{Proto: nf.UDP}); n != 2 {
		t.Errorf("%d entries were flushed, want the 2 of UDP", n)
	}
	if left := x.Flows(nf.Filter{Proto: nf.TCP}); len(left) != 3 {
		t.Errorf("left: %v", left)
	}
	x.Inject(inject.UDPs(2, web))
	if n, err := x.Lab.Flush(t.Context(), nf.Filter{Proto: nf.UDP}, nf.Filter{Proto: nf.TCP}); n != 5 || err != nil {
		t.Errorf("by two filters %d entries were flushed, %v; want 5", n, err)
	}
}

// With the receive buffer that an ordinary user gets by default, Inject loses no event, though each SYN makes an entry that
// the host's RST ends at once.
func TestInjectLosesNoEvents(t *testing.T) {
	t.Parallel()
	const flows, rmemDefault = 5000, 212_992
	env, err := netnsenv.Open(t.Context(), netnsenv.Config{NoPath: true})
	ctexp.Require(t, "open an Env", err)
	lab, err := ctexp.Watch(t.Context(), env, observe.Config{NoFrames: true, EventBuffer: rmemDefault})
	if err != nil {
		t.Fatal(errors.Join(err, env.Close()))
	}
	defer lab.Close()

	if _, err := lab.Inject(t.Context(), inject.SYNs(flows, web)); err != nil {
		t.Fatal(err)
	}

	got := map[string]int{}
	for e, err := range lab.Observer.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got[e.Short()]++
	}
	if diff := ctexp.Diff(map[string]int{"NEW SYN_SENT": flows, "DESTROY": flows}, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// What the recording costs a flood of new flows.
func BenchmarkInjectWithEvents(b *testing.B) {
	const flows = 10000
	for name, none := range map[string]bool{"recorded": false, "NoEvents": true} {
		b.Run(name, func(b *testing.B) {
			lab, err := ctexp.Open(b.Context(), netnsenv.Config{Silent: true, NoPath: true, NoFrames: true, NoEvents: none})
			ctexp.Require(b, "open", err)
			defer lab.Close()
			for b.Loop() {
				if _, err := lab.Inject(b.Context(), inject.SYNs(flows, web)); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if _, err := lab.Flush(b.Context(), nf.Filter{}); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(flows*b.N)/b.Elapsed().Seconds(), "packets/s")
		})
	}
}
