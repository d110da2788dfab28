package ctexp_test

import (
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// The words of a comment decide nothing: one rule drops one packet, for certain, whatever its author wrote beside it.
func TestCommentOfARuleIsNoPartOfTheDiagnosis(t *testing.T) {
	t.Parallel()
	for _, comment := range []string{"blocked, see ticket 7", "blocked; see ticket 7", "fragments and others", "dropped by a rule, one of; else"} {
		t.Run(comment, func(t *testing.T) {
			t.Parallel()
			x := ctexp.New(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{netnsenv.NFT(
				`table ip t { chain c { type filter hook input priority 0; tcp dport 80 counter drop comment "` + comment + `"; }; }`)}})
			x.Inject(packet.SYNs(1, web))

			type verdict struct {
				Lost    bool
				Kind    observe.CauseKind
				Certain bool
				Packets uint64
				Table   string
				Hook    nf.Hook
			}
			var got []verdict
			for _, f := range x.Fates() {
				for i, c := range f.Causes {
					got = append(got, verdict{f.Lost, c.Kind, c.Certain, c.Packets, c.Rule.Table, f.Places[i].Hook})
				}
				if why := f.Places[0].Why(); f.Why() != why {
					t.Errorf("beside the frame %q, in the path %q", f.Why(), why)
				}
			}
			if diff := ctexp.Diff([]verdict{{true, observe.CauseRule, true, 1, "t", nf.Input}}, got); diff != "" {
				t.Errorf("why the SYN was lost (-want +got):\n%s", diff)
			}
		})
	}
}

// A fate says where and why a packet was lost in values that a test can compare.
func TestFatesAreValues(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true, Room: netnsenv.Free(1)})
	x.Inject(packet.SYNs(2, web))

	fates := x.Fates()
	if len(fates) != 2 || fates[0].Lost || fates[0].State != "NEW SYN_SENT" {
		t.Fatalf("the first of two SYNs into a table with room for one: %v", fates)
	}
	if f := fates[1]; !f.Lost || !f.NoEntry || len(f.Causes) != 1 || f.Causes[0].Kind != observe.CauseTableFull {
		t.Errorf("the second: %v", f)
	}
}
