package nf

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestRulesErrorListsWhatIsWrong(t *testing.T) {
	t.Parallel()
	exit := &exec.ExitError{ProcessState: &os.ProcessState{}}
	problem := RuleProblem{Line: 2, Column: 5, Text: "\t\tnonsense\x1b", Why: "syntax error"}
	noColumn := RuleProblem{Line: 3, Text: "oif tun9", Why: "there is no link tun9"}
	for _, c := range []struct {
		err  RulesError
		want string
	}{
		{RulesError{Rules: "nft", Problems: []RuleProblem{problem, noColumn}}, "nft rules:\nline 2, column 5: syntax error: nonsense\\x1b\nline 3: there is no link tun9: oif tun9"},
		{RulesError{Rules: "nft", Problems: []RuleProblem{noColumn}, Err: exit}, "nft rules:\nline 3: there is no link tun9: oif tun9"},
		{RulesError{Rules: "nft", Problems: slices.Repeat([]RuleProblem{noColumn}, 22)}, "nft rules:" + strings.Repeat("\nline 3: there is no link tun9: oif tun9", 20) + "\n… 2 more, which may only follow from the first"},
		{RulesError{Rules: "nft", Output: "line of output", Err: exit}, "nft rules:\nline of output"},
		{RulesError{Rules: "nft", Err: exit}, "nft rules: exit status 0:"},
		{RulesError{Rules: "iptables-nft", Output: "line of output", Err: fs.ErrPermission}, "iptables-nft rules: permission denied:\nline of output"},
	} {
		if got := c.err.Error(); got != c.want || errors.Unwrap(&c.err) != c.err.Err {
			t.Errorf("%q, want %q, or its cause is lost", got, c.want)
		}
	}
}

func TestRulePrintsOneLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rule Rule
		want string
	}{
		{
			Rule{Backend: "nft", Family: "ip", Table: "filter", Chain: "input", Kind: KindRule, Text: "tcp dport 80 drop", Counted: true, Packets: 10, Bytes: 400},
			"nft ip filter input: tcp dport 80 drop [packets 10 bytes 400]",
		},
		{Rule{Backend: "nft", Family: "inet", Table: "fw", Chain: "in", Kind: KindPolicy, Text: "drop"}, "nft inet fw in: policy drop"},
		{Rule{Backend: "nft", Family: "inet", Table: "fw", Kind: KindCounter, Text: "http", Counted: true}, "nft inet fw: counter http [packets 0 bytes 0]"},
	} {
		if got := c.rule.String(); got != c.want {
			t.Errorf("\n got %s\nwant %s", got, c.want)
		}
	}
}
