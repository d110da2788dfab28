package ruleset

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// All uses of links by name in an nft text are found with their lines, and nothing else.
func TestLinksOfAnNftText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`iifname "a" oifname != b`:                                                                           "[{a 1} {b 1}]",
		"define w = { a,\n b }\niifname $w":                                                                  "[{a 3} {b 3}]",
		`chain c { type filter hook ingress device "a" priority 0; }`:                                        "[{a 1}]",
		`chain c { type filter hook ingress devices = { a, "b" } priority 0; }`:                              "[{a 1} {b 1}]",
		"flowtable f {\n hook ingress priority 0\n devices = { a,\n b }\n}":                                  "[{a 3} {b 4}]",
		"set s { type ifname; elements = { \"a\",\n b } }\nset i { type ipv4_addr; elements = { 1.2.3.4 } }": "[{a 1} {b 2}]",
		"set s {\n typeof iifname\n elements = { a }\n}\niifname @s accept":                                  "[{a 3}]",
		"set s {\n typeof meta iifname\n elements = { a }\n}":                                                "[{a 3}]",
		"rule comment \"x\ny\" iifname a":                                                                    "[{a 2}]",
		"set s { type ipv4_addr . ifname; elements = { 1.2.3.4 . a, 1.2.3.5 . b } }":                         "[{a 1} {b 1}]",
		"map m { type ifname : verdict; elements = { a : jump x, b : drop } }":                               "[{a 1} {b 1}]",
		"map m { type ipv4_addr : verdict; elements = { 1.2.3.4 : drop } }":                                  "[]",
		"set s { type ifname; }\nadd element inet t s { a }\nadd element t s { b }":                          "[{a 2} {b 3}]",
		`iifname . ip saddr { a . 1.2.3.4 }`:                                                                 "[{a 1}]",
		`ip saddr . iifname vmap { 1.2.3.4 . a : accept }`:                                                   "[{a 1}]",
		`ip saddr . tcp dport { 1.2.3.4 . 80 } iifname a`:                                                    "[{a 1}]",
		`ip saddr @s iifname . tcp dport @t accept`:                                                          "[]",
		`iifname vmap { a : accept, b : jump c }`:                                                            "[{a 1} {b 1}]",
	} {
		if diff := cmp.Diff(want, fmt.Sprint(nftLinks(text))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}
