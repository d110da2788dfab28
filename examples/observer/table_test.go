package observer

import (
	"slices"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Whatever happens to the table is an event, in the kernel's order, and none is ever missing unseen.
func TestEveryChangeOfTheTableIsAnEvent(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true})

	x.Inject(packet.Packets(packet.SYN(web), web.UDP(nil)))
	x.Flush(nf.Filter{Proto: nf.UDP})

	const both = "src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10000"
	want := []string{"NEW tcp SYN_SENT " + both, "NEW udp " + both, "DESTROY udp " + both}
	var got []string
	for _, e := range x.Events() {
		got = append(got, e.String())
	}
	if diff := ctexp.Diff(want, got); diff != "" {
		x.Errorf("events (-want +got):\n%s", diff)
	}
}

// What happens to a flow is a list of words. It is compared whole, which says what never happens, too.
func TestFlowIsEstablishedByTheLastACK(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, router())

	states := x.States(flow, packet.Packets(handshake()...)) // after each packet

	if diff := ctexp.Diff([]string{"SYN_SENT [UNREPLIED]", "SYN_RECV", "ESTABLISHED [ASSURED]"}, states); diff != "" {
		x.Errorf("after each packet (-want +got):\n%s", diff)
	}
	if diff := ctexp.Diff([]string{"NEW SYN_SENT", "UPDATE SYN_RECV", "UPDATE ESTABLISHED [ASSURED]"}, x.Life(flow)); diff != "" {
		x.Errorf("its life (-want +got):\n%s", diff)
	}
}

// That one thing never happens is plain Go.
func TestRSTEndsAFlowThatIsNeverEstablished(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, router())

	rst := web.Reverse().TCP(packet.TCP{Flags: packet.FlagRST | packet.FlagACK, Ack: 2})
	states := x.States(flow, packet.Packets(packet.SYN(web), rst))

	if slices.Contains(x.Life(flow), "UPDATE ESTABLISHED [ASSURED]") || slices.Contains(states, "ESTABLISHED [ASSURED]") {
		x.Errorf("it was established: %q, %q", x.Life(flow), states)
	}
	if last := x.Life(flow)[len(x.Life(flow))-1]; last != "DESTROY" {
		x.Errorf("it ended in %q", last)
	}
}

// An expected table is a text: as String prints entries, or as conntrack -L does.
func TestTableIsThatOfAText(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, router())

	x.States(flow, packet.Packets(handshake()...))
	x.Inject(packet.Packets(web.UDP(nil)))

	want, err := nf.ParseEntries(`
tcp      6 431999 ESTABLISHED src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80 src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10000 [ASSURED] mark=0 use=1
udp      17 29 src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10000 mark=0 use=1
`)
	if err != nil {
		t.Fatal(err)
	}
	if diff := ctexp.Diff(lines(want), lines(x.Flows())); diff != "" {
		x.Errorf("the table (-want +got):\n%s", diff)
	}
}

// lines are the canonical lines of entries, which leave out what changes by itself, in order.
func lines(entries []nf.Entry) []string {
	var s []string
	for _, e := range entries {
		s = append(s, e.String())
	}
	slices.Sort(s)
	return s
}

// What conntrack counts is a plain value, of which one sees at once all that it counted.
func TestStatsCountWhatIsInvalid(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true})

	nothing := web.TCP(packet.TCP{}) // without a flag
	x.Inject(packet.Packets(nothing, nothing))

	got := x.Stats()
	got.NoChainTooLong = false // as before Linux 5.15
	if diff := ctexp.Diff(observe.Stats{Invalid: 2}, got); diff != "" {
		x.Errorf("statistics (-want +got):\n%s", diff)
	}
}

// Expectations are events and values, too.
func TestRuleExpectsAFlow(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{netnsenv.NFT(`table ip u {
	ct expectation data { protocol udp; dport 5000; timeout 1m; size 12; l3proto ip; }
	chain in { type filter hook input priority 0; tcp dport 80 ct expectation set "data"; }
}`)}})

	x.Inject(packet.Packets(packet.SYN(web)))

	expected := x.Expectations()
	if len(expected) != 1 || !strings.HasPrefix(expected[0].String(), "udp src=192.0.2.1 dst=198.18.0.2 sport=0 dport=5000 ") {
		x.Errorf("expected: %v", expected)
	}
	if kinds := []observe.EventKind{x.Events()[0].Kind, x.Events()[1].Kind}; ctexp.Diff([]observe.EventKind{observe.EventExpectNew, observe.EventNew}, kinds) != "" {
		x.Errorf("events: %v", kinds)
	}
}
