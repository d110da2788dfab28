package observe_test

import (
	"slices"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

// The texts of rules are those of the ruleset when the packets were read, also after rules were added and others replaced them.
func TestTraceHasTheTextsOfChangedRules(t *testing.T) {
	t.Parallel()
	const first = "table inet t { chain c { type filter hook input priority 0; tcp sport 10000 counter accept; }; }"
	l := open(t, netnsenv.Config{Silent: true, Trace: true, Rules: []netnsenv.Ruleset{netnsenv.NFT(first)}})
	texts := func() (all []string) {
		for s, err := range l.o.Trace(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if s.Rule != "" {
				all = append(all, s.Rule)
			}
		}
		return all
	}
	load := func(text string) {
		if err := netnsenv.NFT(text).Load(t.Context(), l.env); err != nil {
			t.Fatal(err)
		}
	}

	l.sendSYNs(1, web)
	before := texts()
	load("table inet u { chain c { type filter hook input priority 1; tcp sport 10000 counter accept; }; }\nadd rule inet t c tcp sport 10001 counter accept\n")
	l.sendSYNs(2, web)
	after := texts()
	load("delete table inet t\n")
	gone := texts()

	one, two := "tcp sport 10000 counter accept", "tcp sport 10001 counter accept"
	if !slices.Equal(before, []string{one}) || !slices.Equal(after, []string{one, one, one, two}) || !slices.Equal(gone, []string{one}) {
		t.Errorf("got %q, then %q, then %q", before, after, gone)
	}
}
