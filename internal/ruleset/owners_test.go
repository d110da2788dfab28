package ruleset

import (
	"slices"
	"testing"
)

func TestOwnersOfRules(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		text Text
		want []Owner
	}{
		"nft": {Text{Program: "nft", Text: "table ip t {\n chain c {\n  meta skuid 1337 drop\n  skgid == 7 skuid { 0, 5-9, \"root\" } accept\n }\n}"},
			[]Owner{{1337, false, 3, "skuid 1337"}, {7, true, 4, "skgid 7"}, {0, false, 4, "skuid 0"}, {5, false, 4, "skuid 5-9"}, {0, false, 4, "skuid root"}}},
		"nft with defines and maps": {Text{Program: "nft", Text: "define mesh = { 1337, 1338 }\nadd rule ip t c skuid $mesh drop\nadd rule ip t c meta skuid vmap { 8 : drop }"},
			[]Owner{{1337, false, 2, "skuid 1337"}, {1338, false, 2, "skuid 1338"}, {8, false, 3, "skuid 8"}}},
		"nft with sets": {Text{Program: "nft", Define: []string{"extra=1339"}, Text: "table ip t {\n set s { type uid . inet_service; elements = { 1337 . 80,\n root . 22 }; }\n map m { typeof meta skgid : verdict; }\n chain c {\n skuid . tcp dport @s drop\n tcp dport . meta skuid { 80 . 9 } drop\n skuid != { 5 } accept\n }\n}\nadd element ip t m { 4 : drop }\nadd rule ip t c skuid $extra drop"},
			[]Owner{{1337, false, 2, "skuid 1337"}, {0, false, 3, "skuid root"}, {9, false, 7, "skuid 9"}, {4, true, 11, "skgid 4"}, {1339, false, 12, "skuid 1339"}}},
		"nft without owners": {Text{Program: "nft", Text: "table ip t {\n set s { typeof meta skuid; }\n chain c {\n skuid != 1337 skuid > 7 skuid @s skuid nobodyknows comment \"skuid 1337\" # skuid 1337\n }\n}"}, nil},
		"iptables-save": {Text{Program: "iptables-nft", Text: "*filter\n# --uid-owner 3\n-A OUTPUT -m owner --uid-owner 1337 -j DROP\n-A OUTPUT -m owner ! --gid-owner 5-7 -m comment --comment \"--uid-owner 4\" -j DROP\nCOMMIT"},
			[]Owner{{1337, false, 3, "--uid-owner 1337"}, {5, true, 4, "--gid-owner 5-7"}}},
		"iptables": {Text{Program: "iptables-legacy", Commands: []string{"-A OUTPUT -m owner --uid-owner root -j DROP"}},
			[]Owner{{0, false, 1, "--uid-owner root"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := test.text.Owners(); !slices.Equal(got, test.want) {
				t.Errorf("owners %v, want %v", got, test.want)
			}
		})
	}
}
