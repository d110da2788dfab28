package ctexp_test

import (
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// One entry is asked for by either of its tuples; where there is none it is zero.
func TestFlowIsTheEntryOfATuple(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Links: veth, Silent: true})
	flow := web.Tuple(nf.TCP)

	before := x.Flow(flow)
	x.Inject(inject.SYNs(1, web))

	if before != (nf.Entry{}) {
		t.Errorf("before there was one: %v", before)
	}
	if diff := ctexp.Diff(x.Flows()[0].String(), x.Flow(flow.Reverse()).String()); diff != "" {
		t.Errorf("by its reply (-want +got):\n%s", diff)
	}
	if diff := ctexp.Diff(observe.Stats{}, x.Stats()); diff != "" {
		t.Errorf("a new flow counts in no statistics (-want +got):\n%s", diff)
	}
	if expected := x.Expectations(); len(expected) != 0 {
		t.Errorf("expected: %v", expected)
	}
}
