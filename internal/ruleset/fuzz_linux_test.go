package ruleset

import (
	"strings"
	"testing"
)

// For any rules and any output of the programs, the search for problems ends without a panic, and names only existing
// lines.
func FuzzRules(f *testing.F) {
	f.Add("define w = { a,\n b }\niifname $w\nset s { type ifname . ipv4_addr; elements = { a . 1.2.3.4 } }", "line 2 failed")
	f.Add("define a = $a\niifname $a", "")
	f.Add("*filter\n:FORWARD DROP [0:0]\n-A FORWARD -i eth0 ! -o \"eth1\" -j LED\nCOMMIT", "iptables-restore v1.8.11 (legacy): Couldn't load target `LED'\nError occurred at line: 3")
	f.Add("*filter\n-A FORWARD -m", "iptables-restore: line 9 failed")
	f.Fuzz(func(t *testing.T, rules, output string) {
		lines := strings.Count(rules, "\n") + 1
		for _, u := range append(nftLinks(rules), iptablesLinks(strings.Split(rules, "\n"))...) {
			if u.line < 1 || u.line > lines {
				t.Errorf("%v: there are %d lines", u, lines)
			}
		}
		restoreProblems(rules, output, false)
		tableProblem(output, true)
	})
}
