package ruleset

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// The output of the programs is reduced to lines and reasons, without names, warnings and advice.
func TestOutputOfIptables(t *testing.T) {
	t.Parallel()
	const text = "*filter\n-A FORWARD -j LED --led-trigger-id x\n-A FORWARD -j CT --notrack\nCOMMIT\n*nat\n-A INPUT -m ipvs --ipvs\n-A NONE -j DROP\nCOMMIT\n-A INPUT"
	for name, tt := range map[string]struct{ output, want string }{
		"module, legacy": {
			"Warning: Extension LED revision 0 not supported, missing kernel module?\niptables-restore: line 4 failed",
			"[2 the kernel lacks the module ipt_LED ipt_LED] [4 iptables-restore does not say why ]",
		},
		"modules and more, nft": {
			"Warning: Extension LED revision 0 not supported, missing kernel module?\nWarning: Extension ipvs revision 0 not supported, missing kernel module?\n" +
				"iptables-nft-restore v1.8.9 (nf_tables): \nline 2: RULE_APPEND failed (No such file or directory): rule in chain FORWARD\n" +
				"line 3: RULE_APPEND failed (Invalid argument): rule in chain FORWARD",
			"[2 the kernel lacks the module ipt_LED ipt_LED] [6 the kernel lacks the module ipt_ipvs ipt_ipvs] [3 the kernel rejects it: Invalid argument ]",
		},
		"no chain":      {"iptables-restore: line 7 failed", `[7 there is no chain "NONE" in the table nat ]`},
		"no chain, nft": {"iptables-nft-restore: line 7 failed: No chain/target/match by that name.", `[7 there is no chain "NONE" in the table nat ]`},
		"no table line": {"iptables-restore: line 9 failed", "[9 there is no *table line before it ]"},
		"unknown table": {
			"iptables-restore v1.8.9 (legacy): iptables-restore: unable to initialize table 'nope'\n\nError occurred at line: 1",
			`[1 there is no table "nope" ]`,
		},
		"unknown table, nft": {
			"iptables-nft-restore v1.8.9 (nf_tables): iptables-nft-restore: line 1 table name 'nope' invalid\nError occurred at line: 1",
			`[1 there is no table "nope" ]`,
		},
		"module of a table": {
			"iptables-restore v1.8.9 (legacy): iptables-restore: unable to initialize table 'nat'\n\nError occurred at line: 5",
			"[5 the kernel lacks the module iptable_nat iptable_nat]",
		},
		"option": {
			"iptables-restore v1.8.9 (legacy): unknown option \"--x\"\nError occurred at line: 3\nTry `iptables-restore -h' …",
			`[3 unknown option "--x" ]`,
		},
	} {
		var got string
		for i, p := range restoreProblems(text, tt.output, false) {
			if i > 0 {
				got += " "
			}
			got += fmt.Sprintf("[%d %s %s]", p.Line, p.Why, p.Module)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for output, want := range map[string]string{
		"running [/usr/sbin/iptables-legacy -t raw -A PREROUTING --wait]: exit status 1: iptables: Invalid argument. Run `dmesg' for more information.\n": "the kernel rejects it: Invalid argument",
		"iptables v1.8.9 (legacy): \nThe \"nat\" table is not intended for filtering.\n\n":                                                                `The "nat" table is not intended for filtering`,
		"iptables v1.8.9 (nf_tables):  RULE_APPEND failed (Invalid argument): rule in chain FORWARD":                                                      "the kernel rejects it: Invalid argument",
		"": "",
	} {
		if got := plainWords(output); got != want {
			t.Errorf("%q: got %q, want %q", output, got, want)
		}
	}
}

// A chain must be declared in the text, be there already, or belong to the table.
func TestMissingChainsOfIptables(t *testing.T) {
	t.Parallel()
	const text = `# -A NONE -j NONE
*filter
:WEB - [0:0]
-N MORE
-A INPUT -j WEB
-A MORE -g WEB
-A NONE -j DROP
-A INPUT -j NOWHERE
-A INPUT -g DROP
*nat
-A WEB -j ACCEPT
-A PREROUTING -j DNAT --to 192.0.2.1`
	var got []string
	for _, p := range chainProblems(nowhere{}, text) {
		got = append(got, fmt.Sprintf("%d: %s", p.Line, p.Why))
	}
	want := []string{
		`7: there is no chain "NONE"`, `8: there is no chain or target "NOWHERE"`, `9: there is no chain "DROP"`, `11: there is no chain "WEB"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Rules that only lack modules are unsupported. With other problems they are wrong.
func TestOnlyMissingModulesAreUnsupported(t *testing.T) {
	t.Parallel()
	led, queue := nf.RuleProblem{Line: 1, Why: "…", Module: "ipt_LED"}, nf.RuleProblem{Line: 2, Why: "…", Module: "nft_queue"}
	if err := onlyModules([]nf.RuleProblem{led, {Line: 3, Why: "there is no link"}}); err != nil {
		t.Errorf("a module and a link: %v", err)
	}
	if err := onlyModules(nil); err != nil {
		t.Errorf("nothing: %v", err)
	}
	err := &nf.RulesError{Rules: "nft", Problems: []nf.RuleProblem{led, queue, led}, Err: onlyModules([]nf.RuleProblem{led, queue, led})}
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v is not unsupported", err)
	}
	want := "nft rules: needs ipt_LED (sudo modprobe -a ipt_LED nft_queue, or another kernel):\nline 1: …: \nline 2: …: \nline 1: …: "
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

// A table that the kernel lacks is unsupported, with its module. Any other error stays as it is.
func TestMissingTableIsUnsupported(t *testing.T) {
	t.Parallel()
	const missing = "running [/usr/sbin/iptables-legacy -t filter -S]: exit status 3: iptables v1.8.9 (legacy): can't initialize iptables table `filter': Table does not exist (do you need to insmod?)"
	for _, tt := range []struct {
		text   string
		family nf.Family
		want   string
	}{
		{missing, nf.IPv4, "iptable_filter"},
		{missing, nf.IPv6, "ip6table_filter"},
		{"iptables v1.8.9 (legacy): can't initialize iptables table `nope': Table does not exist", nf.IPv4, ""},
		{"iptables: Bad rule (does a matching rule exist in that chain?).", nf.IPv4, ""},
	} {
		err := errors.New(tt.text)
		got := Unsupported(err, tt.family)
		var lack *nf.UnsupportedError
		switch {
		case !errors.Is(got, err):
			t.Errorf("got %v without its cause", got)
		case tt.want == "" && got != err:
			t.Errorf("got %v", got)
		case tt.want != "" && (!errors.As(got, &lack) || lack.Need != tt.want || lack.Hint != "sudo modprobe "+tt.want):
			t.Errorf("got %v, want the need %s", got, tt.want)
		}
	}
	if err := Unsupported(nil, nf.IPv4); err != nil {
		t.Error(err)
	}
}
