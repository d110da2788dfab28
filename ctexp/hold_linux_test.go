package ctexp_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/kernel"
)

// holdRouter has a client's and a server's link, and forwards.
func holdRouter(rules ...netnsenv.Ruleset) netnsenv.Config {
	prefix := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	return netnsenv.Config{
		Links: []netnsenv.LinkConfig{
			{Name: "client", Prefixes: prefix("10.0.1.1/24")},
			{Name: "server", Prefixes: prefix("10.0.2.1/24")},
		},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
		Rules:   rules,
	}
}

// question is a flow from the client to the server of holdRouter.
var question = packet.Flow{Src: netip.MustParseAddrPort("10.0.1.2:1000"), Dst: netip.MustParseAddrPort("10.0.2.2:53")}

// Of two packets of one UDP flow that both have an unconfirmed entry, the second one released takes over the entry of the
// first (net/netfilter/nf_conntrack_core.c, nf_ct_resolve_clash), in whatever order they came.
func TestClashOfHeldPacketsIsResolvedInAnyOrder(t *testing.T) {
	t.Parallel()
	for _, order := range [][2]int{{0, 1}, {1, 0}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			t.Parallel()
			x := ctexp.New(t, holdRouter())
			queue := x.Hold(nf.Probe{Hook: nf.Forward, Match: nf.Match{In: "client", Proto: nf.UDP}})
			sent := []packet.Packet{question.UDP([]byte("one")), question.UDP([]byte("two"))}
			x.InjectOn("client", packet.Packets(sent...))
			held := queue.Held()
			unconfirmed := len(x.Flows())
			var want, got []packet.Record
			for _, i := range order {
				queue.Release(held[i])
				want = append(want, sent[i].With(packet.TTL(63)).On("server", packet.Out))
				got = append(got, x.Received()...)
			}

			if len(held) != 2 || held[0].Class != nf.ClassNew || held[1].Class != nf.ClassNew || unconfirmed != 0 {
				t.Errorf("%d entries, held %v; want no entry, and two NEW packets", unconfirmed, held)
			}
			if diff := ctexp.Diff(want, got); diff != "" {
				t.Errorf("what left (-want +got):\n%s", diff)
			}
			clashes := observe.Stats{ClashResolve: 1}
			if !kernel.QueuedClashes.Here() {
				clashes = observe.Stats{} // it took the entry over when it left the queue
			}
			if diff := ctexp.Diff(reported(clashes), x.Stats()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if flows := x.Flows(); len(flows) != 1 {
				t.Errorf("flows: %v, want one", flows)
			}
		})
	}
}

// Of two SYNs of one flow that both have an unconfirmed entry, the second one released is dropped, whichever came first:
// a clash of TCP is not resolved (net/netfilter/nf_conntrack_core.c, nf_ct_resolve_clash, allow_clash).
func TestSecondOfTwoHeldSYNsIsDropped(t *testing.T) {
	t.Parallel()
	for _, order := range [][2]int{{0, 1}, {1, 0}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			t.Parallel()
			x := ctexp.New(t, holdRouter())
			queue := x.Hold(nf.Probe{Hook: nf.Forward, Match: nf.Match{Proto: nf.TCP}})
			var sent []packet.Packet
			for _, seq := range []uint32{1, 1000} { // of one flow
				sent = append(sent, packet.SYN(question).With(packet.Seq(seq)))
			}
			x.InjectOn("client", packet.Packets(sent...))
			held := queue.Held()
			queue.Release(held[order[0]], held[order[1]])

			want := []packet.Record{sent[order[0]].With(packet.TTL(63)).On("server", packet.Out)}
			drops := observe.Stats{InsertFailed: 1, Drop: 1}
			if !kernel.QueuedClashes.Here() { // it takes the entry over when it leaves the queue
				want = append(want, sent[order[1]].With(packet.TTL(63)).On("server", packet.Out))
				drops = observe.Stats{}
			}
			if diff := ctexp.Diff(want, x.Received()); diff != "" {
				t.Errorf("what left (-want +got):\n%s", diff)
			}
			if diff := ctexp.Diff(reported(drops), x.Stats()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// Held packets are neither lost nor dropped by a rule, even beside a rule that drops; released, they are on the path.
func TestHeldPacketsAreNotLost(t *testing.T) {
	t.Parallel()
	for _, at := range []struct {
		hook     nf.Hook
		priority int32
	}{
		{nf.Prerouting, -500}, {nf.Prerouting, -300}, {nf.Prerouting, -200}, {nf.Prerouting, 0}, {nf.Prerouting, nf.PriorityConfirm},
		{nf.Forward, -500}, {nf.Forward, 0}, {nf.Postrouting, -500}, {nf.Postrouting, 100}, {nf.Postrouting, nf.PriorityConfirm},
	} {
		t.Run(fmt.Sprintf("%v %d", at.hook, at.priority), func(t *testing.T) {
			t.Parallel()
			x := ctexp.New(t, holdRouter(netnsenv.NFT("table ip t {\n chain c {\n type filter hook forward priority 0\n udp dport 54 drop\n }\n }")))
			queue := x.Hold(nf.Probe{Hook: at.hook, Priority: at.priority, Match: nf.Match{Proto: nf.UDP}})
			x.InjectOn("client", packet.Packets(question.UDP([]byte("one")), question.UDP([]byte("two"))))
			held := queue.Held()

			type loss struct {
				Lost   uint64
				Held   bool
				Causes []observe.Cause
			}
			var got []loss
			for _, l := range x.Path().Losses() {
				got = append(got, loss{l.Lost, l.Held(), l.Causes})
			}
			number := queue.Waiting()[0].Queue
			cause := observe.Cause{Kind: observe.CauseHeld, Certain: true, Packets: 2, Queue: number}
			if diff := ctexp.Diff([]loss{{2, true, []observe.Cause{cause}}}, got); diff != "" {
				t.Errorf("losses (-want +got):\n%s", diff)
			}
			for _, f := range x.Fates() {
				if f.Lost || !f.Held || f.Why() != fmt.Sprintf("held in queue %d (2 waiting)", number) {
					t.Errorf("%v: lost %v, held %v: %s", f.Frame, f.Lost, f.Held, f.Why())
				}
			}

			queue.Release(held...)
			if losses := x.Path().Losses(); len(losses) > 0 {
				t.Errorf("after the release: %v", losses)
			}
			if n := len(x.Received()); n != 2 {
				t.Errorf("%d packets left, want 2", n)
			}
		})
	}
}

// The reader of a user's own queue gets what the user's rule sends there, and tells the loss of what it drops from what
// it holds.
func TestQueueOfTheUsersRules(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, holdRouter(netnsenv.IPTables("iptables-nft", "-A FORWARD -p udp --dport 53 -j NFQUEUE --queue-num 5")))
	queue := x.Queue(5)
	x.InjectOn("client", packet.Packets(question.UDP([]byte("one")), question.UDP([]byte("two"))))
	held := queue.Held()
	held[1].Packet = held[1].Packet.With(packet.TTL(9))
	queue.Release(held[1])

	want := []packet.Record{question.UDP([]byte("two")).With(packet.TTL(9)).On("server", packet.Out)}
	if diff := ctexp.Diff(want, x.Received()); diff != "" {
		t.Errorf("what left (-want +got):\n%s", diff)
	}
	losses := x.Path().Losses()
	if len(losses) != 1 || losses[0].Why() != "held in queue 5 (1 waiting)" || losses[0].Lost != 1 {
		t.Errorf("losses: %v", losses)
	}
}

// A packet of the host's own socket is held before its entry is confirmed.
func TestHoldOfTheHostsOwnPacket(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, holdRouter())
	queue := x.Hold(nf.Probe{Hook: nf.Output, Match: nf.Match{Proto: nf.UDP}})
	conn, err := x.Env.Dial(t.Context(), "udp", "10.0.2.2:53")
	ctexp.Require(t, "dial", err)
	_, err = conn.Write([]byte("one"))
	ctexp.Require(t, "write", err)

	held := queue.Held()
	if len(held) != 1 || held[0].Hook != nf.Output || held[0].Out != "server" || held[0].Class != nf.ClassNew {
		t.Fatalf("held: %v", held)
	}
	before := len(x.Flows())
	queue.Release(held...)
	if after := len(x.Flows()); before != 0 || after != 1 {
		t.Errorf("%d entries before the release and %d after it, want 0 and 1", before, after)
	}
}

// What is dropped is lost, what is repeated is held again unless it was changed so that the probe misses it, and what waits
// when the queue is closed is dropped.
func TestHeldPacketsAreDroppedAndRepeated(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, holdRouter())
	queue := x.Hold(nf.Probe{Hook: nf.Forward, Match: nf.Match{In: "client", Proto: nf.UDP}})
	x.InjectOn("client", packet.Packets(question.UDP([]byte("one")), question.Nth(1).UDP([]byte("two")), question.Nth(2).UDP([]byte("three"))))
	held := queue.Held()
	if len(held) != 3 {
		t.Fatalf("held %v, want 3 packets", held)
	}
	queue.Drop(held[0])
	queue.Repeat(held[1])
	again := queue.Held()
	if len(again) != 2 || again[0].ID == held[1].ID || again[1].ID == held[1].ID {
		t.Errorf("held %v: want the third packet, and the second with another ID", again)
	}
	x.ExpectNothing()
	queue.Close()
	x.ExpectNothing()
	if n := len(x.Flows()); n != 0 {
		t.Errorf("%d entries of packets that were all dropped", n)
	}
}
