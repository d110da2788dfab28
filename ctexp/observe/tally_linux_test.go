package observe_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/kernel"
)

// A full table drops new flows between the probes on both sides of conntrack.
func TestTallyOfAFullTable(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{
		Room: netnsenv.Free(7), Silent: true,
		Probes: []nf.Probe{nf.RawPrerouting, nf.ManglePrerouting},
	})

	x.sendSYNs(10, web)

	got := x.tally()
	want := observe.Tally{
		Packets: map[string]uint64{"raw/prerouting": 10, "mangle/prerouting": 7},
		Entries: 7,
		Dropped: 3,
	}
	if diff := got.Diff(want); diff != "" {
		t.Errorf("10 SYNs into a table with room for 7 (-want +got):\n%s", diff)
	}
	if err := got.Check(); err != nil && !(errors.Is(err, observe.ErrLawNotApplicable) && got.Collected > 0) {
		t.Errorf("check: %v", err)
	}
	// The garbage collector may run at any time.
	if n, after := len(x.flows(nf.Filter{})), x.tally(); n > got.Entries || n < after.Entries {
		t.Errorf("%d flows, %d entries before and %d after: the filler must be in neither", n, got.Entries, after.Entries)
	}
}

func TestTallyOfTwoPhases(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, Probes: []nf.Probe{nf.RawPrerouting, nf.ManglePrerouting.Of(nf.IPv6)},
		Links: []netnsenv.LinkConfig{{Prefixes: prefixes("192.0.2.1/24", "2001:db8::1/64")}}})

	x.sendSYNs(3, web)
	before := x.tally()
	x.sendSYNs(5, web.Nth(100))
	x.send(packet.SYN(web6))

	want := observe.Tally{
		Packets: map[string]uint64{"raw/prerouting": 5, "ip6/mangle/prerouting": 1},
		Entries: 6,
	}
	if diff := x.tally().Sub(before).Diff(want); diff != "" {
		t.Errorf("second phase (-want +got):\n%s", diff)
	}
}

// told returns what the running kernel tells of what ended entries.
func told(e observe.Ended) observe.Ended {
	if kernel.EndsTold.Here() {
		return e
	}
	return observe.Ended{Aged: e.Aged, ByNetlink: e.ByNetlink, Untold: e.TimedOut + e.ByPacket + e.Removed}
}

// What ended an entry is counted apart, and none of it is chance.
func TestEndedCountsWhatRemovedEntries(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	over, reset, deleted := web.Nth(1), web.Nth(2), web.Nth(3)
	x.send(packet.SYN(over), packet.SYN(reset), packet.SYN(deleted))

	x.send(packet.RST(reset))
	for e, err := range x.o.Flows(t.Context(), nf.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		switch e.Orig.Src.Port() {
		case deleted.Src.Port():
			err = x.env.Table().Delete(e)
		case over.Src.Port():
			err = x.env.Table().Update(nf.Entry{Orig: e.Orig, Reply: e.Reply, Timeout: time.Second})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	x.await("one flow is over", func() bool {
		return len(x.flows(nf.Filter{})) == 0 // the kernel notices when it walks the table
	})
	want := observe.Tally{Ended: told(observe.Ended{TimedOut: 1, ByPacket: 1, ByNetlink: 1})}
	if diff := x.tally().Diff(want); diff != "" {
		t.Errorf("three flows that ended (-want +got):\n%s", diff)
	}

	x.send(packet.SYN(over), packet.SYN(reset))
	n, err := x.env.Age(t.Context(), 121*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	x.o.NoteAged(n)
	want.Ended.Aged = 2
	if diff := x.tally().Diff(want); diff != "" {
		t.Errorf("and two that were aged (-want +got):\n%s", diff)
	}
	if diff := x.tally().Diff(observe.Tally{Entries: 2}); diff == "" {
		t.Error("entries that were aged may be there")
	}
}

// linkDown sets a link down in the namespace of the calling thread.
func linkDown(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	req.SetUint16(0) // without IFF_UP
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}

// Masquerading removes the entries of a link that goes down, which is no chance.
func TestEndedWithALink(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
		Links: []netnsenv.LinkConfig{
			{Name: "in0", Prefixes: prefixes("198.18.0.1/24")}, {Name: "out0", Prefixes: prefixes("192.0.2.1/24")},
		},
		Rules: []netnsenv.Ruleset{netnsenv.NFT("table ip n { chain c { type nat hook postrouting priority 100; oifname out0 masquerade; }; }")},
	})
	x.send(packet.SYN(packet.Flow{Src: web.Src, Dst: addrPort("192.0.2.2:80")}))
	if err := x.env.Do(func() error { return linkDown("out0") }); err != nil {
		t.Fatal(err)
	}
	x.await("the entry is removed", func() bool { n, err := x.o.Count(t.Context()); return n == 0 && err == nil })
	if diff := x.tally().Diff(observe.Tally{Ended: told(observe.Ended{Removed: 1})}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := x.tally().Diff(observe.Tally{Entries: 1}); diff == "" {
		t.Error("an entry that was removed with its link may be there")
	}
}

// A SYN that reopens a closed connection replaces its entry: nothing is collected.
func TestReplacedEntriesAreNotCollected(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	x.send(closedConnection(web)...)
	if got := x.flows(nf.Filter{}); len(got) != 1 || got[0][:len("tcp TIME_WAIT")] != "tcp TIME_WAIT" {
		t.Fatalf("want one entry in TIME_WAIT, got %q", got)
	}

	x.send(web.TCP(packet.TCP{Flags: packet.FlagSYN, Seq: 1_000_000}))

	if diff := x.tally().Diff(observe.Tally{Entries: 1, Ended: told(observe.Ended{ByPacket: 1})}); diff != "" {
		t.Errorf("SYN in TIME_WAIT (-want +got):\n%s", diff)
	}
	if got := x.flows(nf.Filter{}); len(got) != 1 || got[0][:len("tcp SYN_SENT")] != "tcp SYN_SENT" {
		t.Errorf("want one entry in SYN_SENT, got %q", got)
	}
}

func TestChangedLimitIsAnError(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{})
	o, err := observe.Open(t.Context(), x.env, observe.Config{Limit: 7})
	if o != nil || !errors.Is(err, observe.ErrLimitChanged) {
		t.Errorf("got %v, %v", o, err)
	}
}

func TestProbeThatWasNeverThereIsNamed(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{})
	o, err := observe.Open(t.Context(), x.env, observe.Config{Probes: []nf.Probe{{Name: "nobody/made/it"}}})
	const want = "open observer: no probe \"nobody/made/it\": the namespace was made without it; add it to netnsenv.Config.Probes"
	if o != nil || !errors.Is(err, observe.ErrOff) || errors.Is(err, errors.ErrUnsupported) || errors.Is(err, observe.ErrProbeLost) || err.Error() != want {
		t.Errorf("got %v, %v; want %s", o, err, want)
	}
}

// "flush ruleset" of a program leaves the probes alone. On a kernel that does not protect them, Tally and Path say that they
// were deleted, and why.
func TestFlushedRulesetIsHarmlessOrAnError(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, Probes: []nf.Probe{nf.RawPrerouting}})
	x.send(packet.SYN(web))
	if out, err := x.env.Command(t.Context(), "nft", "flush", "ruleset").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	tally, err := x.o.Tally(t.Context())
	_, perr := x.o.Path(t.Context())
	if kernel.OwnedTables.Here() {
		if diff := tally.Diff(observe.Tally{Packets: map[string]uint64{"raw/prerouting": 1}, Entries: 1}); diff != "" || err != nil || perr != nil {
			t.Errorf("%v, %v (-want +got):\n%s", err, perr, diff)
		}
		return
	}
	for what, err := range map[string]error{"Tally": err, "Path": perr} {
		if !errors.Is(err, observe.ErrProbeLost) || !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), `"flush ruleset" deletes it; needs nftables tables with an owner (since Linux 5.12`) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestNegativeSizesAreRefused(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{})
	for want, cfg := range map[string]observe.Config{
		"config: Ring is -1: must not be negative":                          {Ring: -1},
		"config: MaxFrames is -1: must not be negative":                     {MaxFrames: -1},
		"config: MaxEvents is -2: must not be negative":                     {MaxEvents: -2},
		"config: EventBuffer is -1: must not be negative":                   {EventBuffer: -1},
		"config: Ring is 1073741825 bytes: want at most 1073741824 (1 GiB)": {Ring: 1<<30 + 1},
	} {
		o, err := observe.Open(t.Context(), x.env, cfg)
		if o != nil || err == nil || err.Error() != "open observer: "+want {
			t.Errorf("got %v, %v; want %s", o, err, want)
		}
	}
}

func TestClosedObserverReturnsErrClosed(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{})
	if err := x.o.Close(); err != nil {
		t.Fatal(err)
	}
	x.o.Drain()
	_, tally := x.o.Tally(t.Context())
	_, path := x.o.Path(t.Context())
	_, rules := x.o.Rules(t.Context())
	for what, err := range map[string]error{
		"Tally": tally, "Path": path, "Rules": rules,
		"Flows": lastError(x.o.Flows(t.Context(), nf.Filter{})), "Frames": lastError(x.o.Frames(t.Context())),
	} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestExpiredContextIsAnError(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, opened := observe.Open(ctx, x.env, observe.Config{})
	_, tally := x.o.Tally(ctx)
	_, path := x.o.Path(ctx)
	_, rules := x.o.Rules(ctx)
	for what, err := range map[string]error{
		"Open": opened, "Tally": tally, "Path": path, "Rules": rules,
		"Flows": lastError(x.o.Flows(ctx, nf.Filter{})), "Frames": lastError(x.o.Frames(ctx)),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func BenchmarkTally(b *testing.B) {
	x := open(b, netnsenv.Config{Probes: []nf.Probe{nf.RawPrerouting, nf.ManglePrerouting}})
	for b.Loop() {
		if _, err := x.o.Tally(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// A rule at ingress, before all hooks, is named like others.
func TestDropsAtIngressAreNamed(t *testing.T) {
	t.Parallel()
	for rule, want := range map[string]string{
		"tcp dport 80 counter drop": "dropped by nft netdev u in: tcp dport 80 counter drop [packets 2 bytes 80]",
		"tcp dport 80 drop":         "dropped by a rule, the only candidate: nft netdev u in: tcp dport 80 drop",
	} {
		for _, priority := range []string{"-500", "0"} {
			t.Run(rule+" at "+priority, func(t *testing.T) {
				t.Parallel()
				x := open(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{
					netnsenv.NFT("table netdev u { chain in { type filter hook ingress device tun0 priority " + priority + "; " + rule + "; }; }"),
				}})
				x.send(packet.SYN(web), packet.SYN(web.Nth(1)), web.UDP(nil))
				p := x.path()
				if diff := cmp.Diff([]string{want}, x.losses()); diff != "" || p.Arrived[nf.IPv4] != 3 {
					t.Errorf("%d arrived (-want +got):\n%s", p.Arrived[nf.IPv4], diff)
				}
			})
		}
	}
}

// Fragments, and forwarded packets of both families, do not count as lost before the hooks.
func TestNothingIsLostBeforeTheHooks(t *testing.T) {
	t.Parallel()
	cfg := router()
	cfg.Links[0].Prefixes = prefixes("198.18.0.1/24", "2001:db8::1/64")
	x := open(t, cfg)
	parts := web.UDP(make([]byte, 3000)).Fragments(1280)
	x.sendBy("tun0", append(parts, packet.SYN(web), packet.SYN(web6))...)
	p := x.path()
	for _, l := range p.Losses() {
		if l.Hook == nf.Ingress {
			t.Error(l)
		}
	}
	if diff := cmp.Diff(map[nf.Family]uint64{nf.IPv4: uint64(len(parts)) + 1, nf.IPv6: 1}, p.Arrived); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Packets that a flowtable forwards are not lost.
func TestPacketsOfAFlowtableAreNotLost(t *testing.T) {
	t.Parallel()
	cfg := router()
	cfg.Rules = []netnsenv.Ruleset{netnsenv.NFT(`table inet u {
		flowtable f { hook ingress priority 0; devices = { tun0, tun1 }; }
		chain on { type filter hook forward priority 0; ct state established flow add @f; }
	}`)}
	x := open(t, cfg)
	x.talk(handshake...)
	for range 5 {
		x.talk(client(ack, 1001, 5001, 10))
	}
	p := x.path()
	met := uint64(0)
	for _, at := range p.Points {
		if at.Probe == nf.DefragPrerouting {
			met = at.Packets
		}
	}
	if p.Arrived[nf.IPv4] != 8 || met == 8 {
		t.Errorf("%d arrived, %d met a hook: the flowtable has taken none", p.Arrived[nf.IPv4], met)
	}
	if losses := x.losses(); len(losses) != 0 {
		t.Errorf("lost: %v", losses)
	}
	if entries := x.entries(nf.Filter{Status: nf.Offload, StatusMask: nf.Offload}); len(entries) != 1 || !strings.Contains(entries[0].String(), "[OFFLOAD]") {
		t.Errorf("entries of the flowtable: %v, want one", entries)
	}
}

// The host's own ICMP error about a packet without an entry is not lost.
func TestErrorsOfTheHostAreNotLost(t *testing.T) {
	t.Parallel()
	cfg := router()
	cfg.Silent = false
	x := open(t, cfg)
	x.talk(packet.SYN(web).With(packet.TTL(1)))
	want := `
ipv4 prerouting   defrag 1 → raw 1 → conntrack 1 → mangle 1 → nat 1 → filter 1 → end 1
                  1 of 1 lost after end, before mangle/input or mangle/forward: time to live exceeded (IpInHdrErrors +1)
     output       raw 1 → conntrack 1 → mangle 1 → nat 1 → filter 1 → security 1 → end 1
     postrouting  mangle 1 → nat 1 → confirm 1 → confirmed 0
                  1 without an entry, not lost: ICMP errors and RSTs of the host about packets without an entry
`
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), x.path().String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// resets returns n flows that a RST ends at once; each causes an event.
func (l lab) resets(n int) {
	l.Helper()
	pairs := func(yield func(packet.Packet) bool) {
		for i := range n {
			if f := web.Nth(i); !yield(packet.SYN(f)) || !yield(packet.RST(f)) {
				return
			}
		}
	}
	if _, err := inject.New(l.env.Links()[0]).Send(l.Context(), pairs); err != nil {
		l.Fatal(err)
	}
}

// Lost events are an error and not a wrong count.
func TestLostEventsAreAnError(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, NoPath: true, NoFrames: true})
	release := observe.HoldEvents(x.o)
	x.resets(40000)
	release()
	if got, err := x.o.Tally(t.Context()); !errors.Is(err, observe.ErrEventsLost) {
		t.Errorf("got %v, %v", got, err)
	}
}

// Events are read in the background, so that the smallest buffer suffices.
func TestEventsAreReadInTheBackground(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, NoPath: true}, func(c *observe.Config) { c.NoFrames = true })
	for i := range 40 {
		x.resets(100)
		x.await("the events are read", func() bool { return observe.ReadEvents(x.o) == (i+1)*200 })
	}
	if diff := x.tally().Diff(observe.Tally{}); diff != "" {
		t.Errorf("4,000 flows that a RST ended (-want +got):\n%s", diff)
	}
}

// A table full of unreplied flows accepts new ones by evicting those. The filler remains hidden.
func TestTallyOfATableFullOfUnreplied(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{
		Silent: true, Room: netnsenv.Free(0).Unreplied(),
		Probes: []nf.Probe{nf.ConntrackPrerouting, nf.ManglePrerouting},
	})
	x.sendSYNs(100, web)

	got, err := x.o.Tally(t.Context())
	if errors.Is(err, observe.ErrFillerLost) { // another test's full table has woken the collector
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	behind := got.Packets["mangle/prerouting"]
	if behind+got.Dropped != 100 || got.Evicted < behind || behind == 0 {
		t.Errorf("%v: want behind + dropped = 100, and an eviction for each that got through", got)
	}
	if n := len(x.flows(nf.Filter{})); n > got.Entries || got.Entries > int(behind) {
		t.Errorf("%v, and %d flows", got, n)
	}
	if err := got.Check(); !errors.Is(err, observe.ErrLawNotApplicable) {
		t.Errorf("check: %v", err)
	}
	plain := observe.Tally{
		Packets: map[string]uint64{"conntrack/prerouting": 100, "mangle/prerouting": 0}, Dropped: 100,
	}
	if diff := got.Diff(plain); !strings.HasPrefix(diff, "not shifted: with an un-replied filler") {
		t.Errorf("bent to the plain numbers:\n%s", diff)
	}
}

// An un-replied filler of which more is gone than was evicted leaves room that nobody asked for.
func TestLostFillerIsAnError(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true}, func(c *observe.Config) { c.Filler, c.Unreplied = 1, true })
	if tally, err := x.o.Tally(t.Context()); !errors.Is(err, observe.ErrFillerLost) {
		t.Errorf("%v, %v, want ErrFillerLost", tally, err)
	}
}

func BenchmarkDrain(b *testing.B) {
	x := open(b, netnsenv.Config{})
	for b.Loop() {
		x.o.Drain()
	}
}
