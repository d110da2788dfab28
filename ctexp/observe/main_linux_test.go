package observe_test

import (
	"context"
	"iter"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
)

func TestMain(m *testing.M) {
	netnsenv.Enter()
	needs.SkipExamples(openOne)
	os.Exit(m.Run())
}

// openOne opens what examples need.
func openOne() error {
	env, err := netnsenv.Open(context.Background(), netnsenv.Config{Rules: []netnsenv.Ruleset{netnsenv.NFT("table inet t { }")}})
	if err != nil {
		return err
	}
	return env.Close()
}

// web is a flow from outside to the default host.
var web = packet.Flow{
	Src: netip.MustParseAddrPort("198.18.0.2:10000"),
	Dst: netip.MustParseAddrPort("192.0.2.1:80"),
}

// web6 is the same over IPv6.
var web6 = packet.Flow{
	Src: netip.MustParseAddrPort("[2001:db8:f::2]:10000"),
	Dst: netip.MustParseAddrPort("[2001:db8::1]:80"),
}

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func prefixes(s ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, p := range s {
		ps = append(ps, netip.MustParsePrefix(p))
	}
	return ps
}

// closedConnection is a whole TCP connection, after which its entry is in TIME_WAIT.
func closedConnection(f packet.Flow) []packet.Packet {
	r := f.Reverse()
	return []packet.Packet{
		packet.SYN(f), packet.SYNACK(r), packet.ACK(f),
		packet.FIN(f),
		r.TCP(packet.TCP{Flags: packet.FlagFIN | packet.FlagACK, Seq: 2, Ack: 3}),
		f.TCP(packet.TCP{Flags: packet.FlagACK, Seq: 3, Ack: 3}),
	}
}

// lab is an Env with an Observer on it.
type lab struct {
	testing.TB
	env *netnsenv.Env
	o   *observe.Observer
}

// open opens an Env and an Observer for a test, and skips the test if that is not supported. Each change modifies the
// Config that the Env describes itself by before the Observer gets it.
func open(t testing.TB, cfg netnsenv.Config, changes ...func(*observe.Config)) lab {
	t.Helper()
	env, err := netnsenv.Open(t.Context(), cfg)
	needs.Check(t, err)
	t.Cleanup(func() {
		if err := env.Close(); err != nil {
			t.Errorf("close the Env: %v", err)
		}
	})
	oc := configOf(env)
	for _, change := range changes {
		change(&oc)
	}
	o, err := observe.Open(t.Context(), env, oc)
	needs.Check(t, err)
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Errorf("close the Observer: %v", err)
		}
	})
	return lab{TB: t, env: env, o: o}
}

// configOf returns the Config of an Observer for env.
func configOf(env *netnsenv.Env) observe.Config {
	room := env.Room()
	return observe.Config{
		Probes: env.Config().Probes, Path: env.PathProbes(), Silent: env.Config().Silent,
		Filler: room.Filler, Unreplied: room.Unreplied, Limit: room.Limit, Free: room.Free,
	}
}

// send injects packets by the first link.
func (l lab) send(packets ...packet.Packet) {
	l.Helper()
	if _, err := inject.New(l.env.Links()[0]).Send(l.Context(), packet.Packets(packets...)); err != nil {
		l.Fatal(err)
	}
}

// sendSYNs injects n SYNs by the first link.
func (l lab) sendSYNs(n int, f packet.Flow) {
	l.Helper()
	if _, err := inject.New(l.env.Links()[0]).Send(l.Context(), packet.SYNs(n, f)); err != nil {
		l.Fatal(err)
	}
}

// latest returns until when a test may wait for something: shortly before its deadline, or, if it has none, a day.
func latest(t testing.TB) time.Time {
	d, ok := t.(interface{ Deadline() (time.Time, bool) })
	if ok {
		if at, ok := d.Deadline(); ok {
			return time.Now().Add(time.Until(at) * 9 / 10)
		}
	}
	return time.Now().Add(24 * time.Hour)
}

// await waits until cond holds; what describes cond.
func (l lab) await(what string, cond func() bool) {
	l.Helper()
	deadline := time.After(time.Until(latest(l.TB)))
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			l.Fatalf("waited in vain: %s", what)
		}
	}
}

func lastError[T any](seq iter.Seq2[T, error]) error {
	_, last := counted(seq)
	return last
}

// counted returns how many values a sequence has without an error, and its last error.
func counted[T any](seq iter.Seq2[T, error]) (n int, last error) {
	for _, err := range seq {
		if err == nil {
			n++
		}
		last = err
	}
	return n, last
}

func (l lab) tally() observe.Tally {
	l.Helper()
	t, err := l.o.Tally(l.Context())
	if err != nil {
		l.Fatal(err)
	}
	return t
}

func (l lab) flows(f nf.Filter) []string {
	l.Helper()
	var s []string
	for e, err := range l.o.Flows(l.Context(), f) {
		if err != nil {
			l.Fatal(err)
		}
		s = append(s, e.String())
	}
	return s
}
