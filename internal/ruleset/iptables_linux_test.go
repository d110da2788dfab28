package ruleset

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func TestParseIPTables(t *testing.T) {
	t.Parallel()
	line := nf.Rule{Backend: "iptables-legacy", Family: "ip", Table: "mangle"}
	with := func(change func(*nf.Rule)) nf.Rule { r := line; change(&r); return r }
	for _, c := range []struct {
		text string
		want nf.Rule
		ok   bool
	}{
		{"-P PREROUTING ACCEPT -c 10 400", with(func(r *nf.Rule) {
			r.Chain, r.Kind, r.Text, r.Counted, r.Packets, r.Bytes = "PREROUTING", nf.KindPolicy, "ACCEPT", true, 10, 400
		}), true},
		{"-A PREROUTING -c 7 280", with(func(r *nf.Rule) {
			r.Chain, r.Kind, r.Counted, r.Packets, r.Bytes = "PREROUTING", nf.KindRule, true, 7, 280
		}), true},
		{`-A INPUT -p tcp -m comment --comment "two  words -c 1 2 \" quoted" -c 0 0 -j DROP`, with(func(r *nf.Rule) {
			r.Chain, r.Kind, r.Text, r.Counted = "INPUT", nf.KindRule, `-p tcp -m comment --comment "two  words -c 1 2 \" quoted" -j DROP`, true
		}), true},
		{"-A INPUT -j ACCEPT", with(func(r *nf.Rule) { r.Chain, r.Kind, r.Text = "INPUT", nf.KindRule, "-j ACCEPT" }), true},
		{"-A INPUT -c x 2 -j ACCEPT", with(func(r *nf.Rule) { r.Chain, r.Kind, r.Text = "INPUT", nf.KindRule, "-c x 2 -j ACCEPT" }), true},
		{"-N http", nf.Rule{}, false},
		{"-A", nf.Rule{}, false},
		{"", nf.Rule{}, false},
	} {
		got, ok := parseIPTables(line, c.text)
		if !ok {
			got = nf.Rule{}
		}
		if diff := cmp.Diff(c.want, got); diff != "" || ok != c.ok {
			t.Errorf("%s: %v (-want +got):\n%s", c.text, ok, diff)
		}
	}
}

func FuzzParseIPTables(f *testing.F) {
	f.Add("-P PREROUTING ACCEPT -c 10 400")
	f.Add(`-A INPUT -m comment --comment "x \" y" -c 0 0`)
	f.Fuzz(func(t *testing.T, text string) {
		r, ok := parseIPTables(nf.Rule{}, text)
		if ok && r.Chain == "" {
			t.Errorf("a rule without a chain: %+v", r)
		}
	})
}
