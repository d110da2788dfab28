package observe

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseIPTables(t *testing.T) {
	t.Parallel()
	line := Rule{Backend: "iptables-legacy", Family: "ip", Table: "mangle"}
	with := func(change func(*Rule)) Rule { r := line; change(&r); return r }
	for _, c := range []struct {
		text string
		want Rule
		ok   bool
	}{
		{"-P PREROUTING ACCEPT -c 10 400", with(func(r *Rule) {
			r.Chain, r.Kind, r.Text, r.Counted, r.Packets, r.Bytes = "PREROUTING", KindPolicy, "ACCEPT", true, 10, 400
		}), true},
		{"-A PREROUTING -c 7 280", with(func(r *Rule) {
			r.Chain, r.Kind, r.Counted, r.Packets, r.Bytes = "PREROUTING", KindRule, true, 7, 280
		}), true},
		{`-A INPUT -p tcp -m comment --comment "two  words -c 1 2 \" quoted" -c 0 0 -j DROP`, with(func(r *Rule) {
			r.Chain, r.Kind, r.Text, r.Counted = "INPUT", KindRule, `-p tcp -m comment --comment "two  words -c 1 2 \" quoted" -j DROP`, true
		}), true},
		{"-A INPUT -j ACCEPT", with(func(r *Rule) { r.Chain, r.Kind, r.Text = "INPUT", KindRule, "-j ACCEPT" }), true},
		{"-A INPUT -c x 2 -j ACCEPT", with(func(r *Rule) { r.Chain, r.Kind, r.Text = "INPUT", KindRule, "-c x 2 -j ACCEPT" }), true},
		{"-N http", Rule{}, false},
		{"-A", Rule{}, false},
		{"", Rule{}, false},
	} {
		got, ok := parseIPTables(line, c.text)
		if !ok {
			got = Rule{}
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
		r, ok := parseIPTables(Rule{}, text)
		if ok && r.Chain == "" {
			t.Errorf("a rule without a chain: %+v", r)
		}
	})
}
