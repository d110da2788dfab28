package observe

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Lives has of each flow what Life has, whether it was before a gap, behind it, or never.
func TestLivesAreTheLifeOfEachFlow(t *testing.T) {
	t.Parallel()
	flow := nf.Tuple{Proto: nf.TCP, Src: netip.MustParseAddrPort("198.18.0.2:10000"), Dst: netip.MustParseAddrPort("192.0.2.1:80")}
	late, itself, never := flow, flow, flow
	late.Src = netip.MustParseAddrPort("198.18.0.3:10000")
	itself.Src = itself.Dst
	never.Src = netip.MustParseAddrPort("198.18.0.4:10000")
	on := func(k EventKind, orig nf.Tuple, s nf.TCPState) Event {
		return Event{Kind: k, Entry: nf.Entry{Orig: orig, Reply: orig.Reverse(), State: s}}
	}
	events := []Event{
		on(EventNew, flow, nf.SynSent), on(EventNew, itself, nf.SynSent), on(EventUpdate, flow, nf.SynRecv),
		{Kind: EventExpectNew, Expect: nf.Expectation{Master: flow}},
		{Kind: EventLost}, on(EventNew, late, nf.SynSent), on(EventResync, flow, nf.Established), {Kind: EventLost},
		on(EventDestroy, flow, nf.TCPNone),
	}
	want := map[nf.Tuple][]string{{}: Life(events, never)}
	for _, tuple := range []nf.Tuple{flow, flow.Reverse(), late, late.Reverse(), itself} {
		want[tuple] = Life(events, tuple)
	}
	if diff := cmp.Diff(want, Lives(events)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
