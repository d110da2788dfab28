package observe_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// An expected table is written as text, in the form at hand; what differs from run to run does not matter.
func TestTableIsThatOfAText(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	x.send(closedConnection(web)...)
	x.send(web.Nth(1).UDP(nil))

	want, err := nf.ParseEntries(`
		# as conntrack -L prints it, and in the canonical form
		tcp      6 119 TIME_WAIT src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80 src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10000 [ASSURED] mark=0 use=1
		udp src=198.18.0.2 dst=192.0.2.1 sport=10001 dport=80 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10001
	`)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sortedLines(want), sortedLines(x.entries(nf.Filter{}))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

const redirecting = `
table ip nat {
	chain pre {
		type nat hook prerouting priority dstnat;
		tcp dport 80 redirect to :8080
	}
	chain in {
		type nat hook input priority 100;
		tcp dport 8080 snat to 203.0.113.7:4000
	}
}`

// What was translated, and on which side.
func TestEntryTellsItsTranslation(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{netnsenv.NFT(redirecting)}})
	x.send(packet.SYN(web))
	e, err := x.o.Get(t.Context(), web.Tuple(nf.TCP), 0)
	if err != nil {
		t.Fatal(err)
	}
	const want = "src 198.18.0.2:10000 to 203.0.113.7:4000, dst 192.0.2.1:80 to 192.0.2.1:8080"
	if got := e.NAT().String(); got != want || !e.Status.Has(nf.SrcNAT|nf.DstNAT) {
		t.Errorf("got %q, status %v; want %q", got, e.Status, want)
	}
}

// Start is there where the kernel notes it; a connection that was picked up in the middle has no window to check.
func TestEntryTellsTimesAndFlags(t *testing.T) {
	t.Parallel()
	before := time.Now().Add(-time.Second)
	x := open(t, netnsenv.Config{Silent: true, Sysctls: map[string]string{"net.netfilter.nf_conntrack_acct": "1"}})
	x.send(packet.ACK(web), packet.ACK(web))
	e, err := x.o.Get(t.Context(), web.Tuple(nf.TCP), 0)
	if err != nil {
		t.Fatal(err)
	}
	if e.Start.Before(before) || e.Start.After(time.Now().Add(time.Second)) || !e.Stop.IsZero() {
		t.Errorf("start %v, stop %v", e.Start, e.Stop)
	}
	if !e.TCP.Orig.Flags.Has(nf.BeLiberal) || !e.TCP.Reply.Flags.Has(nf.BeLiberal) {
		t.Errorf("flags %v and %v, want BE_LIBERAL in both", e.TCP.Orig.Flags, e.TCP.Reply.Flags)
	}
	if want := (nf.DirCounts{Orig: 2}); e.Packets != want {
		t.Errorf("packets: got %v, want %v", e.Packets, want)
	}
	if _, err := x.env.Table().Flush(t.Context(), nf.Filter{}); err != nil {
		t.Fatal(err)
	}
	for event, err := range x.o.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		e = event.Entry
	}
	if e.Stop.Before(e.Start) || e.Start.IsZero() {
		t.Errorf("destroyed: start %v, stop %v", e.Start, e.Stop)
	}
}
