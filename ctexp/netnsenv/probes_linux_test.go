package netnsenv_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

// Logging of the reasons is on unless the Config turns it off. Sysctls of the Config override it.
func TestReasonsAreLogged(t *testing.T) {
	t.Parallel()
	names := []string{"net.netfilter.nf_log.2", "net.netfilter.nf_log.10", "net.netfilter.nf_conntrack_log_invalid"}
	read := func(t *testing.T, cfg netnsenv.Config) []string {
		e := open(t, cfg)
		var values []string
		for _, name := range names {
			v, err := e.Sysctl(name)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, v)
		}
		return values
	}
	bare := read(t, netnsenv.Config{NoReasons: true})
	for _, c := range []struct {
		name string
		cfg  netnsenv.Config
		want []string
	}{
		{"by default", netnsenv.Config{}, []string{"nfnetlink_log", "nfnetlink_log", "255"}},
		{"not", netnsenv.Config{NoReasons: true}, []string{bare[0], bare[1], "0"}},
		{"of UDP alone", netnsenv.Config{Sysctls: map[string]string{names[2]: "17"}}, []string{"nfnetlink_log", "nfnetlink_log", "17"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, read(t, c.cfg)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if bare[0] == "nfnetlink_log" {
		t.Errorf("without reasons nf_log.2 is %q", bare[0])
	}
}

// With Trace there are two chains that enable tracing, before all others; without it none.
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
