package ruleset

import (
	"os"
	"path/filepath"
	"strings"
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

// program writes a script in place of iptables-nft, which is found in front of any other.
func program(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "iptables-nft"), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// Whichever listing fails, reading the rules does. This test is not parallel, because it sets the PATH.
func TestAFailedListingIsAnErrorOfTheRules(t *testing.T) {
	const version, chains, rules = `*--version*) echo "iptables v1.8.9 (nf_tables)";; `, `"-t filter -S --wait"*) echo "-P INPUT ACCEPT";; `, `*"-v -S INPUT"*) echo "-P INPUT ACCEPT -c 1 40";; `
	for name, c := range map[string]struct{ answers, want string }{
		"nothing fails": {version + chains + rules, ""},
		"the version":   {"", "exit status 3"},
		"the chains":    {version, "list chains of iptables-nft table filter"},
		"the rules":     {version + chains, "list iptables-nft chain filter INPUT"},
	} {
		program(t, `case "$*" in `+c.answers+` *) echo "cannot" >&2; exit 3;; esac`)
		got, err := readIPTables(t.Context(), nf.IPTablesNFT, nf.IPv4, "filter")
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) || (len(got) == 1) != (c.want == "") {
			t.Errorf("%s: %v, %v; want %q", name, got, err, c.want)
		}
	}
}
