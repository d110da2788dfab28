package netnsenv_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

// With Trace there are two chains by which packets are traced, before all others; without it none.
func TestTraceBeginsBeforeAllRules(t *testing.T) {
	t.Parallel()
	for _, trace := range []bool{false, true} {
		e := open(t, netnsenv.Config{Trace: trace})
		c, err := e.NFTables()
		if err != nil {
			t.Fatal(err)
		}
		chains, err := c.ListChains()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range chains {
			if c.Priority != nil && *c.Priority == -402 {
				got = append(got, c.Name)
			}
		}
		slices.Sort(got)
		var want []string
		if trace {
			want = []string{"trace_output", "trace_prerouting"}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("trace %v (-want +got):\n%s", trace, diff)
		}
	}
}
