package ruleset

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// What nft says of a text becomes lines, columns and reasons. The output is that of nft 1.0.6.
func TestOutputOfNft(t *testing.T) {
	t.Parallel()
	const rejected, refused = "Error: Could not process rule: No such file or directory", "Error: Could not process rule: Operation not supported"
	for name, c := range map[string]struct {
		text   string // with ^ in front of the first and behind the last byte that nft points at
		error  string
		kernel string // what lacks: a word of the probes that it refuses
		want   string
	}{
		"syntax":                {"table ip t {\n^nonsense^\n}", "Error: syntax error, unexpected string", "", "2:1 syntax error, unexpected string"},
		"keyword":               {"table ip ^count^ { }", "Error: syntax error, unexpected count, expecting string", "", `1:10 "count" is a keyword of nft and cannot be a name`},
		"keyword of one letter": {"table ip ^q^ { }", "Error: syntax error, unexpected q, expecting string", "", `1:10 "q" is a keyword of nft and cannot be a name`},
		"keyword in a jump":     {"tcp dport 80 jump ^log^", "Error: syntax error, unexpected log", "", `1:19 "log" is a keyword of nft and cannot be a name`},
		"no keyword":            {"tcp dport ^log^", "Error: syntax error, unexpected log", "", "1:11 syntax error, unexpected log"},
		"link":                  {`iif "^tun9^" drop`, "Error: Interface does not exist", "", `1:6 there is no link "tun9", only lo, tun0 (iif needs an existing link, iifname does not)`},
		"set":                   {"ip saddr ^@bad^ drop", rejected, "", `1:10 there is no set "bad"`},
		"set of one letter":     {"ip saddr @b drop ^x^", rejected, "", "1:18 No such file or directory"},
		"chain":                 {"tcp dport 80 jump ^web^", rejected + "; did you mean chain ‘web2’ in table ip ‘t’?", "", `1:19 there is no chain "web"; did you mean chain ‘web2’ in table ip ‘t’?`},
		"our own chain":         {"tcp dport 80 jump ^web^", rejected + "; did you mean chain ‘x’ in table inet ‘ctexp’?", "", `1:19 there is no chain "web"`},
		"helper of no kernel":   {"ct helper ^h^ {\ntype \"nope\" protocol tcp;\n}", rejected, "", `1:11 helper "nope": neither the kernel nor a program has registered a helper of that name`},
		"helper":                {"table ip t { ct helper ^h^ { type \"ftp\" protocol tcp; }; }", rejected, "", "1:24 the kernel lacks the module nf_conntrack_ftp (nf_conntrack_ftp)"},
		"first words":           {"ct helper ^h^ { type \"ftp\" protocol tcp; }", rejected, "", "1:11 the kernel lacks the module nf_conntrack_ftp (nf_conntrack_ftp)"},
		"another object":        {"ct timeout ^h^ { type \"ftp\" protocol tcp; }", rejected, "", "1:12 No such file or directory"},
		"module":                {"tcp dport 80 ^queue num 5^", rejected, "queue", "1:14 the kernel lacks the module nft_queue (nft_queue)"},
		"wrong place":           {"tcp dport 80 ^masquerade^", refused, "", "1:14 Operation not supported in this hook, chain type or family"},
		"flowtable":             {"^flow add @f^", rejected, "flowtable", `1:1 there is no flowtable "f"`},
		"nat before conntrack":  {"chain ^c^ {\n type nat hook prerouting priority -300;\n}", refused, "", "1:7 a chain of type nat needs a priority above -200, behind conntrack"},
		"nat at raw":            {"chain ^c^ { type nat hook prerouting priority raw;\n}", refused, "", "1:7 a chain of type nat needs a priority above -200, behind conntrack"},
		"nat above raw":         {"chain ^c^ { type nat hook prerouting priority raw + 200;\n}", refused, "", "1:7 Operation not supported"},
		"nat behind conntrack":  {"chain ^c^ {\n type nat hook prerouting priority -199;\n}", refused, "", "1:7 Operation not supported"},
		"secmark":               {"secmark ^ssh^ {\n \"a context\"\n}", rejected, "", `1:9 no security module, such as SELinux, is there that knows the context of "ssh"`},
		"delete":                {"delete table ^t^\ntable t { }", "Error: No such file or directory; did you mean table ‘t’ in family ip?", "", `1:14 there is no table "t", but "table t" before it would make one`},
		"delete of a family":    {"delete table ip6 ^t^", "Error: No such file or directory; did you mean table ‘t’ in family ip?", "", `1:18 there is no table "t", but "table ip6 t" before it would make one; did you mean table ‘t’ in family ip?`},
		"flowtable's module":    {"flowtable f { }; ^flow add @f^", refused, "flowtable", "1:18 the kernel lacks the module nft_flow_offload (nft_flow_offload)"},
	} {
		text, from, to := pointed(c.text)
		line := 1 + strings.Count(text[:from], "\n")
		column := from - strings.LastIndex(text[:from], "\n")
		try := nftTry{links: []string{"lo", "tun0"}, run: func(tried string) (string, error) {
			if tried == text {
				return fmt.Sprintf("/dev/stdin:%d:%d-%d: %s\n%s\n", line, column, column+to-from-1, c.error, text), errors.New("exit status 1")
			}
			if c.kernel != "" && strings.Contains(tried, c.kernel) {
				return rejected, errors.New("exit status 1")
			}
			return "", nil
		}}
		problems, ok := try.problems(text)
		var got string
		for _, p := range problems {
			got += fmt.Sprintf("%d:%d %s", p.Line, p.Column, p.Why)
			if p.Module != "" {
				got += fmt.Sprintf(" (%s)", p.Module)
			}
		}
		got, _, _ = strings.Cut(got, ": want one of")
		if diff := cmp.Diff(c.want, got); diff != "" || ok {
			t.Errorf("%s: %v (-want +got):\n%s", name, ok, diff)
		}
	}
}

// When the kernel refuses a part of a table, it has none, and nft reports that, too; it is no problem of its own. If nft reports
// nothing else, it is the problem.
func TestTableThatTheTextMakesIsNotMissing(t *testing.T) {
	t.Parallel()
	const text = "table ip nat {\n chain c {\n type nat hook prerouting priority -300;\n }\n}\nadd table inet x\ndelete table y\n"
	const none = "Error: No such file or directory; did you mean table ‘ctexp’ in family inet?\nthe line\n"
	const made, added, deleted = "/dev/stdin:1:10-12: " + none, "/dev/stdin:6:16-16: " + none, "/dev/stdin:7:14-14: " + none
	for output, want := range map[string][]int{
		made + "/dev/stdin:2:8-8: Error: Could not process rule: Operation not supported\nthe line\n": {2},
		made + added + deleted: {7},
		made + added:           {1, 6},
	} {
		try := nftTry{run: func(tried string) (string, error) {
			if tried == text {
				return output, errors.New("exit status 1")
			}
			return "", nil
		}}
		problems, _ := try.problems(text)
		var got []int
		for _, p := range problems {
			got = append(got, p.Line)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("lines with problems of\n%s(-want +got):\n%s", output, diff)
		}
	}
}

// pointed returns a text without its two marks, and which bytes are between them.
func pointed(text string) (plain string, from, to int) {
	before, rest, _ := strings.Cut(text, "^")
	at, after, _ := strings.Cut(rest, "^")
	return before + at + after, len(before), len(before) + len(at)
}

// A line has one problem, the first one that nft tells.
func TestALineHasOneProblem(t *testing.T) {
	t.Parallel()
	var got []nf.RuleProblem
	for _, p := range []nf.RuleProblem{{Line: 2, Why: "a"}, {Line: 1, Why: "b"}, {Line: 2, Why: "c"}} {
		got = addProblem(got, p)
	}
	if diff := cmp.Diff([]nf.RuleProblem{{Line: 2, Why: "a"}, {Line: 1, Why: "b"}}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
