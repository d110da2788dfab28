package netnsenv_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/coreos/go-iptables/iptables"
	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/internal/needs"
)

const wrongSave = `*raw
:PREROUTING ACCEPT [0:0]
-A PREROUTING -p tcp -i eth8 -j CT --zone 1
COMMIT
*filter
:INPUT ACCEPT [0:0]
:MINE - [0:0]
-A INPUT -j NOPE
-A INPUT -m nosuch -j ACCEPT
-A INPUT -m set --match-set unknown src -j ACCEPT
-A INPUT -p tcp --nonsense -j ACCEPT
-A NOCHAIN -j ACCEPT
-A INPUT -j MINE
-A INPUT ! -i eth9 -j LOG --log-prefix "a -i b"
-A INPUT -i cali+ -j ACCEPT
-A INPUT -i tun0 -g NOWHERE
COMMIT
`

const wrongNFT = `define wan = eth9
define inside = { "eth7", "cali*" }
table inet f {
	set known { type ipv4_addr; }
	chain in {
		type filter hook input priority 0; # iifname "comment"
		iifname "eth0" accept
		ip saddr @unknown drop
		iif eth7 accept
		jump nowhere
		ct helper set "nohelper"
		tcp dport 80 fooo
		iifname $wan accept
		oifname != { "tun0", "veth*", eth6 } accept
		iifname $inside accept
		iifname vmap { "lo" : accept, "eth5" : drop }
		meta mark set iifname map { "eth4" : 1 }
	}
}
add rule inet f nochain accept
`

// All missing objects that a text names are reported at once with their lines, and nothing is loaded.
func TestAllMissingObjectsAreReported(t *testing.T) {
	t.Parallel()
	needs.Check(t, checkOpen(t))
	for name, tt := range map[string]struct {
		rules netnsenv.Ruleset
		want  []string
	}{
		"legacy": {netnsenv.IPTablesSave(netnsenv.IPTablesLegacy, wrongSave), []string{
			`3: there is no link "eth8"`, "8: Couldn't load target `NOPE'", "9: Couldn't load match `nosuch'", "10: Set unknown doesn't exist",
			`11: unknown option "--nonsense"`, `12: there is no chain "NOCHAIN" in the table filter`, `14: there is no link "eth9"`, "16: goto 'NOWHERE' is not a chain",
		}},
		"iptables-nft": {netnsenv.IPTablesSave(netnsenv.IPTablesNFT, wrongSave), []string{
			`3: there is no link "eth8"`, "8: there is no chain or target", "9: Couldn't load match `nosuch'", "10: Set unknown doesn't exist",
			`11: unknown option "--nonsense"`, "12: there is no chain", `14: there is no link "eth9"`, "16: there is no chain",
		}},
		"nft": {netnsenv.NFT(wrongNFT), []string{
			`7: there is no link "eth0"`, `8: there is no set "unknown"`, `9: there is no link "eth7", only lo, tun0`, `10: there is no chain "nowhere"`,
			`11: there is no ct helper "nohelper"`, "12: syntax error", `13: there is no link "eth9"`, `14: there is no link "eth6"`, `15: there is no link "eth7"`,
			`16: there is no link "eth5"`, `17: there is no link "eth4"`, `20: there is no chain "nochain"`,
		}},
		"single": {netnsenv.IPTables(netnsenv.IPTablesLegacy, "-A INPUT -i tun0 -j DROP", "-A INPUT -i eth9 -j DROP", "-A OUTPUT -o eth9"), []string{
			`2: there is no link "eth9"`, `3: there is no link "eth9"`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t, netnsenv.Config{})
			err := tt.rules.Load(t.Context(), e)
			needs.Check(t, skipOnly(err))
			var wrong *netnsenv.RulesError
			if !errors.As(err, &wrong) {
				t.Fatalf("%v is no RulesError", err)
			}
			var got []string
			for i, p := range wrong.Problems {
				s := fmt.Sprintf("%d: %s", p.Line, p.Why)
				if i < len(tt.want) && strings.HasPrefix(s, tt.want[i]) {
					s = tt.want[i]
				}
				got = append(got, s)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s\n%v", diff, err)
			}
			for _, table := range tablesOf(t, e) {
				if table != "ctexp" {
					t.Errorf("table %q is there", table)
				}
			}
		})
	}
}

// Optional links may be missing or not.
func TestLinksMayBeMissing(t *testing.T) {
	t.Parallel()
	needs.Check(t, checkOpen(t))
	nft := netnsenv.NFT("table ip f { chain c { iifname \"eth0\" accept; oifname { \"docker0\", \"tun0\" } accept; }; }")
	save := netnsenv.IPTablesSave(netnsenv.IPTablesLegacy, "*filter\n-A FORWARD -i docker0 -o tun0 -j ACCEPT\nCOMMIT")
	e := open(t, netnsenv.Config{})
	for name, r := range map[string]netnsenv.Ruleset{
		"nft, by name":   netnsenv.MissingLinks(netnsenv.MissingLinks(nft, "eth0"), "docker*"),
		"nft, any":       netnsenv.MissingLinks(nft),
		"save, by name":  netnsenv.MissingLinks(save, "docker0"),
		"single, by any": netnsenv.MissingLinks(netnsenv.IPTables(netnsenv.IPTablesLegacy, "-A INPUT -i eth0")),
	} {
		if err := r.Load(t.Context(), e); err != nil {
			needs.Check(t, skipOnly(err))
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := netnsenv.MissingLinks(nft, "eth0").Load(t.Context(), e); err == nil || strings.Contains(err.Error(), `link "eth0"`) || !strings.Contains(err.Error(), `link "docker0"`) {
		t.Errorf("one of two allowed: %v", err)
	}
}

// If one command of a list fails, nothing is added.
func TestFailedCommandsLeaveNothing(t *testing.T) {
	t.Parallel()
	for _, v := range []netnsenv.Variant{netnsenv.IPTablesLegacy, netnsenv.IPTablesNFT} {
		e := open(t, netnsenv.Config{})
		err := netnsenv.IPTables(v,
			"-N MINE", "-A MINE -j DROP", "-t raw -A PREROUTING -j ACCEPT", "-A INPUT -j MINE", "-I INPUT 1 -p tcp -j MINE", "-A INPUT --nonsense",
		).Load(t.Context(), e)
		needs.Check(t, skipOnly(err))
		if err == nil || !strings.Contains(err.Error(), "--nonsense") {
			t.Errorf("%s: %v", v, err)
		}
		needs.Check(t, e.IPTables(v, func(ipt *iptables.IPTables) error {
			for _, table := range []string{"filter", "raw"} {
				chains, err := ipt.ListChains(table)
				if err != nil {
					return err
				}
				for _, chain := range chains {
					if rules, err := ipt.List(table, chain); err != nil || len(rules) != 1 {
						t.Errorf("%s %s: %q, %v", table, chain, rules, err)
					}
				}
				if slices.Contains(chains, "MINE") {
					t.Errorf("%s: the chain is still there", v)
				}
			}
			return nil
		}))
	}
}

// A keyword of nft in place of a name is one problem. The errors that follow from it are not reported.
func TestKeywordsAreNotNames(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	got := problemsOf(t, e, netnsenv.NFT("table inet t {\n\tchain fwd {\n\t\ttype filter hook forward priority filter; policy accept;\n\t\tct state new counter\n\t}\n}\n"))
	want := "2: \"fwd\" is a keyword of nft and cannot be a name: chain fwd {\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// Rules that must not match any packet use a name that no link can have.
func TestNamesThatNoLinkCanHaveMayBeMissing(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	never := netnsenv.NFT("table inet fw {\n\tchain input {\n\t\ttype filter hook input priority filter; policy accept;\n\t\tiifname \"/never/\" drop\n\t}\n}\n")
	for name, r := range map[string]netnsenv.Ruleset{"any": netnsenv.MissingLinks(never), "by name": netnsenv.MissingLinks(never, "/never/")} {
		if err := r.Load(t.Context(), e); err != nil {
			needs.Check(t, skipOnly(err))
			t.Errorf("%s: %v", name, err)
		}
	}
}
