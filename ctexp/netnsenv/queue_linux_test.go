package netnsenv_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// hold is Env.Hold for a test.
func hold(t *testing.T, e *netnsenv.Env, p nf.Probe) *netnsenv.Queue {
	t.Helper()
	q, err := e.Hold(t.Context(), p)
	needs.Check(t, err)
	return q
}

// held returns what a Queue holds, a line each.
func held(t *testing.T, q *netnsenv.Queue) []netnsenv.Held {
	t.Helper()
	packets, err := q.Held(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return packets
}

func lines(packets []netnsenv.Held) (all []string) {
	for _, p := range packets {
		all = append(all, p.String())
	}
	return all
}

// Every packet is held when its injection has returned, on links of either kind.
func TestHeldPacketsAreThereAfterTheFence(t *testing.T) {
	t.Parallel()
	for _, kind := range []netnsenv.LinkKind{netnsenv.Tun, netnsenv.Veth} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			e := open(t, netnsenv.Config{Silent: true, Links: []netnsenv.LinkConfig{{
				Kind: kind, Prefixes: prefixes("192.0.2.1/24"), Routes: prefixes("0.0.0.0/0"),
			}}})
			q := hold(t, e, nf.Probe{Match: nf.Match{Proto: nf.TCP}})
			var want []string
			for i := range 100 {
				send(t, e, packet.SYN(web.Nth(i)), web.UDP([]byte("not held")))
				want = append(want, fmt.Sprintf("#%d prerouting tun0 NEW IP 198.18.0.2.%d > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0", i+1, 10000+i))
				if diff := cmp.Diff(want, lines(held(t, q))); diff != "" {
					t.Fatalf("-want +got:\n%s", diff)
				}
			}
			if n := count(t, e); n != 101 { // one of the UDP flow: those that are not confirmed yet count, too
				t.Errorf("%d entries, want 101", n)
			}
			waiting, err := e.Waiting(t.Context())
			wantWaiting := []nf.Waiting{{Queue: waiting[0].Queue, Family: nf.IPv4, Hook: nf.Prerouting, Packets: 100}}
			if diff := cmp.Diff(wantWaiting, waiting); diff != "" || err != nil {
				t.Errorf("-want +got:\n%s%v", diff, err)
			}
		})
	}
}

// The verdicts act on single packets, in any order. The count of the table includes entries that are not confirmed
// (net/netfilter/nf_conntrack_core.c, __nf_conntrack_alloc), so that only a drop changes it.
func TestVerdictsOnHeldPackets(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{Silent: true})
	q := hold(t, e, nf.Probe{Match: nf.Match{Proto: nf.UDP}})
	for i := range 4 {
		send(t, e, web.Nth(i).UDP(nil))
	}
	all := held(t, q)
	entries := []int{count(t, e)}
	decide := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, count(t, e))
	}
	decide(q.Release(t.Context(), all[2]))
	decide(q.Drop(t.Context(), all[0]))
	decide(q.Release(t.Context(), all[3], all[1]))

	if diff := cmp.Diff([]int{4, 4, 3, 3}, entries); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	if err := q.Release(t.Context(), all[0]); !errors.Is(err, netnsenv.ErrNotHeld) {
		t.Errorf("release of a dropped packet: %v, want ErrNotHeld", err)
	}
	if left := held(t, q); len(left) > 0 {
		t.Errorf("still held: %v", lines(left))
	}
}

// A repeated packet meets the hold again; one that was changed so that it does not match goes on, changed.
func TestRepeatedAndChangedPackets(t *testing.T) {
	t.Parallel()
	counter := nf.Probe{Name: "changed", Priority: 1, Match: nf.Match{Proto: nf.UDP, DstPort: 99}}
	e := open(t, netnsenv.Config{Silent: true, Probes: []nf.Probe{counter}})
	q := hold(t, e, nf.Probe{Match: nf.Match{Proto: nf.UDP, DstPort: 80}})
	send(t, e, web.UDP([]byte("x")))

	first := held(t, q)
	if err := q.Repeat(t.Context(), first...); err != nil {
		t.Fatal(err)
	}
	again := held(t, q)
	again[0].Packet = again[0].Packet.With(packet.DstPort(99))
	needs.Check(t, q.Repeat(t.Context(), again...))

	want := []string{
		"#1 prerouting tun0 NEW IP 198.18.0.2.10000 > 192.0.2.1.80: UDP, length 1",
		"#2 prerouting tun0 NEW IP 198.18.0.2.10000 > 192.0.2.1.99: UDP, length 1",
	}
	if diff := cmp.Diff(want, append(lines(first), lines(again)...)); diff != "" {
		t.Errorf("held (-want +got):\n%s", diff)
	}
	if left := held(t, q); len(left) > 0 {
		t.Errorf("still held: %v", lines(left))
	}
}

// A queue has one reader, and Holds find numbers that are free.
func TestQueueHasOneReader(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	q, err := e.Queue(t.Context(), 5)
	needs.Check(t, err)
	if _, err := e.Queue(t.Context(), 5); !errors.Is(err, netnsenv.ErrQueueTaken) {
		t.Errorf("second reader: %v, want ErrQueueTaken", err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first number of the second Hold is taken
		next, err := e.Queue(t.Context(), 0x6374)
		if err != nil {
			t.Fatal(err)
		}
		hold(t, e, nf.Probe{})
		if err := next.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.Queue(t.Context(), 5); err != nil {
		t.Errorf("after Close: %v", err)
	}
}

// A hook that is removed takes all held packets of the namespace with it, and a new one leads them astray. The first is an
// error, the second is refused.
func TestChangedHooksAreSeen(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{Silent: true})
	if err := netnsenv.NFT("table ip x {\n chain c {\n type filter hook output priority 7\n }\n }").Load(t.Context(), e); err != nil {
		needs.Check(t, err)
	}
	q := hold(t, e, nf.Probe{})
	send(t, e, web.UDP(nil))
	if _, err := e.Hold(t.Context(), nf.Probe{}); err == nil {
		t.Error("a second Hold was made while a packet is held")
	}

	if err := netnsenv.NFT("delete table ip x").Load(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	_, err := q.Held(t.Context())
	if !errors.Is(err, netnsenv.ErrNotHeld) {
		t.Errorf("after a hook was removed: %v, want ErrNotHeld", err)
	}
	if _, err := e.Waiting(t.Context()); !errors.Is(err, netnsenv.ErrNotHeld) {
		t.Errorf("Waiting after a hook was removed: %v, want ErrNotHeld", err)
	}
}

// After Close the rule holds nothing, what was held is gone, and every method says that the Queue is closed.
func TestClosedQueue(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{Silent: true})
	q := hold(t, e, nf.Probe{})
	send(t, e, web.Nth(1).UDP(nil))
	all := held(t, q)
	if err := errors.Join(q.Close(), q.Close()); err != nil {
		t.Fatal(err)
	}
	entries := count(t, e)
	send(t, e, web.Nth(2).UDP(nil))
	entries = count(t, e) - entries

	if entries != 1 {
		t.Errorf("%d new entries, want 1: that of the packet after Close", entries)
	}
	_, err := q.Held(t.Context())
	for _, err := range []error{err, q.Release(t.Context(), all...)} {
		if !errors.Is(err, netnsenv.ErrClosed) {
			t.Errorf("after Close: %v, want ErrClosed", err)
		}
	}
	if waiting, err := e.Waiting(t.Context()); len(waiting) > 0 || err != nil {
		t.Errorf("waiting after Close: %v, %v", waiting, err)
	}
}

// What waits in a queue of another program is a backlog of every link, what the Env holds itself is none.
func TestBacklogIsWhatOthersHold(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{Silent: true, Links: []netnsenv.LinkConfig{{Prefixes: dual}, {}}})
	const number = 5
	rule := fmt.Sprintf("-A INPUT -p udp --dport 80 -j NFQUEUE --queue-num %d", number)
	needs.Check(t, netnsenv.IPTables("iptables-nft", rule).Load(t.Context(), e))
	hold(t, e, nf.Probe{Match: nf.Match{Proto: nf.TCP}})
	if err := e.Do(func() error {
		reader, err := nfnl.Listen(1<<20, nil)
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = reader.Close() })
		return reader.BindQueues(8, number)
	}); err != nil {
		t.Fatal(err)
	}

	send(t, e, packet.SYN(web), web.UDP(nil), web.UDP(nil))

	for _, l := range e.Links() {
		n, by, err := l.Backlog()
		if want := "2 packets by NFQUEUE 5"; n != 2 || by != want || err != nil {
			t.Errorf("%s: %d packets, %q, %v; want 2, %q", l.Name(), n, by, err, want)
		}
	}
}
