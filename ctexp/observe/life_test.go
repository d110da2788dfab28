package observe

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// A life has what happened to the flow, by either of its tuples, and where events are missing, whose nobody knows.
func TestLifeIsOfOneFlow(t *testing.T) {
	t.Parallel()
	flow := nf.Tuple{Proto: nf.TCP, Src: netip.MustParseAddrPort("198.18.0.2:10000"), Dst: netip.MustParseAddrPort("192.0.2.1:80")}
	other := flow
	other.Src = netip.MustParseAddrPort("198.18.0.3:10000")
	on := func(k EventKind, orig nf.Tuple, s nf.TCPState) Event {
		return Event{Kind: k, Entry: nf.Entry{Orig: orig, Reply: orig.Reverse(), State: s}}
	}
	events := []Event{
		on(EventNew, flow, nf.SynSent), on(EventNew, other, nf.SynSent), on(EventUpdate, flow, nf.SynRecv),
		{Kind: EventExpectNew, Expect: nf.Expectation{Master: flow}},
		{Kind: EventLost}, on(EventResync, other, nf.SynSent), on(EventResync, flow, nf.Established),
		on(EventDestroy, flow, nf.TCPNone),
	}
	want := []string{"NEW SYN_SENT", "UPDATE SYN_RECV", "LOST", "RESYNC ESTABLISHED", "DESTROY"}
	for _, tuple := range []nf.Tuple{flow, flow.Reverse()} {
		if diff := cmp.Diff(want, Life(events, tuple)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tuple, diff)
		}
	}
}
