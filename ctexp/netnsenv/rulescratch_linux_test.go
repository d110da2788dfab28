package netnsenv_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/coreos/go-iptables/iptables"
	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// problemsOf returns the problems of the rules, one per line. It skips the test if the machine lacks something.
func problemsOf(t *testing.T, e *netnsenv.Env, r netnsenv.Ruleset) string {
	t.Helper()
	err := r.Load(t.Context(), e)
	needs.Check(t, skipOnly(err))
	var wrong *netnsenv.RulesError
	if !errors.As(err, &wrong) {
		t.Fatalf("%v is no RulesError", err)
	}
	var b strings.Builder
	for _, p := range wrong.Problems {
		fmt.Fprintf(&b, "%d: %s: %s\n", p.Line, p.Why, strings.TrimSpace(p.Text))
	}
	return b.String()
}

// listRules returns the rules and policies of a table, without counters.
func listRules(t *testing.T, e *netnsenv.Env, v netnsenv.Variant, table string) (all []string) {
	t.Helper()
	needs.Check(t, e.IPTables(v, func(ipt *iptables.IPTables) error {
		chains, err := ipt.ListChains(table)
		for _, c := range chains {
			rules, lerr := ipt.List(table, c)
			all, err = append(all, rules...), errors.Join(err, lerr)
		}
		return err
	}))
	return all
}

// refusedSave has rules that belong to other tables. The chain MINE of the table filter exists in the Env.
const refusedSave = `*raw
:MINE - [0:0]
-A PREROUTING -j MINE
-A MINE -j CT --notrack
COMMIT
*filter
:INPUT ACCEPT [0:0]
-A INPUT -j MINE
[3:180] -A FORWARD -j CT --notrack
-A MINE -p tcp -j ACCEPT
-A FORWARD -i eth9 -j DROP
-A OUTPUT -p tcp -j CT --notrack
COMMIT
`

// A rule that only the kernel rejects is reported with its line, although iptables-legacy reports the COMMIT.
func TestRulesRejectedByTheKernelAreReported(t *testing.T) {
	t.Parallel()
	for _, v := range []netnsenv.Variant{netnsenv.IPTablesLegacy, netnsenv.IPTablesNFT} {
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			e := open(t, netnsenv.Config{})
			needs.Check(t, skipOnly(netnsenv.IPTables(v, "-N MINE", "-A FORWARD -p udp -j DROP").Load(t.Context(), e)))
			before := listRules(t, e, v, "filter")
			want := `9: the kernel rejects it: Invalid argument: [3:180] -A FORWARD -j CT --notrack
11: there is no link "eth9", only lo, tun0 (MissingLinks allows it): -A FORWARD -i eth9 -j DROP
12: the kernel rejects it: Invalid argument: -A OUTPUT -p tcp -j CT --notrack
`
			if diff := cmp.Diff(want, problemsOf(t, e, netnsenv.IPTablesSave(v, refusedSave))); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, listRules(t, e, v, "filter")); diff != "" {
				t.Errorf("rules (-before +after):\n%s", diff)
			}
		})
	}
}

// All single commands that fail are reported, and the effects of the others are undone: rules, their positions and
// counters, policies.
func TestFailedCommandsChangeNothing(t *testing.T) {
	t.Parallel()
	for _, v := range []netnsenv.Variant{netnsenv.IPTablesLegacy, netnsenv.IPTablesNFT} {
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			e := open(t, netnsenv.Config{})
			needs.Check(t, skipOnly(netnsenv.IPTables(v,
				"-P FORWARD DROP", "-A INPUT -p tcp -j ACCEPT", `-A INPUT -m comment --comment "a b" -j ACCEPT`, "-A INPUT -p udp -j ACCEPT",
			).Load(t.Context(), e)))
			sendSYNs(t, e, 2)
			list := func() (rules []string) {
				needs.Check(t, e.IPTables(v, func(ipt *iptables.IPTables) (err error) {
					rules, err = ipt.ListWithCounters("filter", "INPUT")
					return err
				}))
				return append(rules, listRules(t, e, v, "filter")...)
			}
			before := list()
			got := problemsOf(t, e, netnsenv.IPTables(v,
				"-P INPUT DROP", "-P FORWARD ACCEPT", "-A INPUT -p tcp -j ACCEPT", "-I INPUT 3 -p tcp -j ACCEPT",
				"-A FORWARD -j CT --notrack",
				"-D INPUT -p tcp -j ACCEPT", "-D INPUT 1", "-N OTHER", "-A OTHER -i eth9", "-A INPUT -j OTHER", "-A INPUT --nonsense",
			))
			want := `5: the kernel rejects it: Invalid argument: -A FORWARD -j CT --notrack
9: there is no link "eth9", only lo, tun0 (MissingLinks allows it): -A OTHER -i eth9
11: unknown option "--nonsense": -A INPUT --nonsense
`
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s\n%s", diff, got)
			}
			if diff := cmp.Diff(before, list()); diff != "" {
				t.Errorf("rules (-before +after):\n%s", diff)
			}
		})
	}
}

// Missing names in nft texts are reported, without nft's suggestions of our own tables.
func TestMissingNftNamesAreReported(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	got := problemsOf(t, e, netnsenv.NFT(`add rule netdev ctex tun0 accept
table netdev n { chain c { type filter hook ingress device "eth8" priority 0; }; }
table inet f {
	chain in {
		ip saddr @nope drop
		ip saddr vmap @m
		counter name c
		ip saddr vmap { 192.0.2.1 : jump nowhere }
	}
}
add element inet f s { 192.0.2.1 }
table netdev m {
	chain c {
		type filter hook ingress device "eth9" priority 0;
	}
}
`))
	got += problemsOf(t, e, netnsenv.NFT("table ip h {\n ct helper h {\n type \"ftp\" protocol udp\n }\n}"))
	want := `1: there is no table "ctex": add rule netdev ctex tun0 accept
2: there is no link "eth8", only lo, tun0 (MissingLinks allows it): table netdev n { chain c { type filter hook ingress device "eth8" priority 0; }; }
5: there is no set "nope": ip saddr @nope drop
6: there is no map "m": ip saddr vmap @m
7: there is no counter "c": counter name c
8: there is no chain "nowhere": ip saddr vmap { 192.0.2.1 : jump nowhere }
11: there is no set or map "s": add element inet f s { 192.0.2.1 }
14: there is no link "eth9", only lo, tun0 (MissingLinks allows it): type filter hook ingress device "eth9" priority 0;
2: helper "ftp": it supports tcp, not udp: ct helper h {
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s\n%s", diff, got)
	}
}

// A nil function panics with the package's name.
func TestNilFunctionsPanic(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	for want, call := range map[string]func(){
		"netnsenv: Do: the function is nil":       func() { _ = e.Do(nil) },
		"netnsenv: IPTables: the function is nil": func() { _ = e.IPTables(netnsenv.IPTablesLegacy, nil) },
	} {
		func() {
			defer func() {
				if got := recover(); got != want {
					t.Errorf("panic %v, want %s", got, want)
				}
			}()
			call()
		}()
	}
}
