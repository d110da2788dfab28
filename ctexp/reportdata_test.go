package ctexp

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// Flows of the same tuple in two zones have each a life of their own; a gap in the events is in the life of all.
func TestLifeInAReportIsOfOneZone(t *testing.T) {
	t.Parallel()
	flow := nf.Tuple{Proto: nf.TCP, Src: netip.MustParseAddrPort("198.18.0.2:10000"), Dst: netip.MustParseAddrPort("192.0.2.1:80")}
	entry := func(zone uint16, s nf.TCPState) nf.Entry {
		return nf.Entry{Orig: flow, Reply: flow.Reverse(), Zone: zone, State: s}
	}
	on := func(k observe.EventKind, e nf.Entry) observe.Event { return observe.Event{Kind: k, Entry: e} }
	c := collector{snapshot: snapshot{record: observe.Record{Events: []observe.Event{
		on(observe.EventNew, entry(1, nf.SynSent)), on(observe.EventNew, entry(2, nf.SynSent)), on(observe.EventUpdate, entry(2, nf.SynRecv)),
		{Kind: observe.EventLost}, on(observe.EventNew, entry(3, nf.Established)),
	}}}}
	life := c.lives()
	var got [][]string
	for zone := range uint16(5) {
		got = append(got, life(entry(zone, nf.SynSent)))
	}
	want := [][]string{
		{"LOST"}, {"NEW SYN_SENT", "LOST"}, {"NEW SYN_SENT", "UPDATE SYN_RECV", "LOST"}, {"LOST", "NEW ESTABLISHED"}, {"LOST"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the lives in zones 0 to 4 (-want +got):\n%s", diff)
	}
}
