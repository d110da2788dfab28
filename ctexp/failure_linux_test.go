package ctexp_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
	"github.com/ctexp/go-ctexp/internal/redtest"
	"github.com/ctexp/go-ctexp/internal/report"
)

// artifact returns a file that a failed test has kept, and its folder's other files.
func artifact(t *testing.T, log, name string) (text string, beside []string) {
	t.Helper()
	m := regexp.MustCompile(`(?m)^--- artifacts: (.*)$`).FindStringSubmatch(log)
	if m == nil {
		t.Fatalf("no artifacts in\n%s", log)
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(m[1]), "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f, "."+name) {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			text = string(b)
		}
		beside = append(beside, filepath.Base(f))
	}
	return text, beside
}

// failuresOf returns the failures in result.json, with their lines as N.
func failuresOf(t *testing.T, log string) []string {
	t.Helper()
	text, _ := artifact(t, log, "result.json")
	result, err := report.ReadJSON(strings.NewReader(text))
	if err != nil || !result.Failed {
		t.Fatalf("%v in %s", err, text)
	}
	var all []string
	for _, f := range result.Failures {
		all = append(all, regexp.MustCompile(`^(\w+_test\.go:)\d+`).ReplaceAllString(f.String(), "${1}N"))
	}
	return all
}

// The page of a failed test shows what differed, if the Experiment was told.
func TestReportKeepsTheDifference(t *testing.T) {
	t.Parallel()
	fake := &redtest.TB{TestName: "TestX"}
	log := fake.Run(func(f *redtest.TB) {
		x := ctexp.New(f, netnsenv.Config{Links: veth, Silent: true})
		x.Inject(packet.SYNs(1, web))
		x.Errorf("entries (-want +got):\n- %d\n+ %d\n", 2, len(x.Flows()))
		f.Errorf("this is for the log alone")
		x.Fatalf("and there were %d frames", len(x.Frames()))
	})
	needs.Check(t, fake.Lack())
	want := []string{"failure_linux_test.go:N: entries (-want +got):\n- 2\n+ 1", "failure_linux_test.go:N: and there were 1 frames"}
	if diff := ctexp.Diff(want, failuresOf(t, log)); diff != "" {
		t.Errorf("failures in result.json (-want +got):\n%s", diff)
	}
	page, _ := artifact(t, log, "report.html")
	at := -1
	for _, part := range []string{
		"<code>failure_linux_test.go:", `class="del">- 2<`, "go test -run &#39;^TestX$&#39; github.com/ctexp/go-ctexp/ctexp<",
		"CTEXP_HOLD=1 go test -timeout 0 -run &#39;^TestX$&#39; github.com/ctexp/go-ctexp/ctexp<", "<svg",
	} {
		next := strings.Index(page, part)
		if next <= at {
			t.Errorf("%q is at %d of the page, behind %d", part, next, at)
		}
		at = next
	}
	if i := strings.Index(log, "what happened in"); !strings.HasPrefix(log, "entries (-want +got)") || i < 0 || strings.Contains(log[i:], "- 2") {
		t.Errorf("the log is\n%s", log)
	}
}

// So it does with an operation that went wrong.
func TestReportKeepsTheErrorOfAnOperation(t *testing.T) {
	t.Parallel()
	fake := &redtest.TB{TestName: "TestX"}
	log := fake.Run(func(f *redtest.TB) {
		ctexp.New(f, netnsenv.Config{Links: veth}).InjectOn("tun7", packet.SYNs(1, web))
	})
	needs.Check(t, fake.Lack())
	got := failuresOf(t, log)
	if len(got) != 1 || !strings.HasPrefix(got[0], "failure_linux_test.go:N: ") || !strings.Contains(got[0], `no link "tun7"`) {
		t.Errorf("result.json has %q, and the log is\n%s", got, log)
	}
}

// The rules stand beside the page as the programs list them that made them, with their counters and without ours.
func TestRulesetIsKeptInItsOwnLanguage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rules netnsenv.Ruleset
		file  string
		want  string // a regular expression
	}{
		"nft": {
			netnsenv.NFT("table ip user { set hosts { type ipv4_addr; elements = { 198.18.0.2 }; }\n chain in { type filter hook input priority 0; ip saddr @hosts counter drop; }; }"),
			"ruleset.nft", `(?s)^table ip user \{ # handle \d+\n\tset hosts .*ip saddr @hosts counter packets 1 bytes 40 drop # handle \d+\n\t\}\n\}\n$`,
		},
		"iptables-legacy": {
			netnsenv.IPTables(netnsenv.IPTablesLegacy, "-A INPUT -p tcp -j DROP"),
			"ruleset.iptables", `(?m)^\[1:40\] -A INPUT -p tcp -j DROP$`,
		},
		"iptables-nft": {
			netnsenv.IPTables(netnsenv.IPTablesNFT, "-A INPUT -p tcp -j DROP"),
			"ruleset.iptables", `(?m)^\[1:40\] -A INPUT -p tcp -j DROP$`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := ctexp.New(t, netnsenv.Config{Links: veth, Silent: true, Rules: []netnsenv.Ruleset{c.rules}})
			x.Inject(packet.SYNs(1, web))
			dir := t.TempDir()
			if _, err := x.WriteReport(t.Context(), dir, "X"); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(dir, "X."+c.file))
			if err != nil {
				t.Fatal(errors.Join(err, listed(dir)))
			}
			if !regexp.MustCompile(c.want).Match(got) {
				t.Errorf("%s:\n%s\nwant %s", c.file, got, c.want)
			}
		})
	}
}

func listed(dir string) error {
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	return errors.New(strings.Join(files, "\n"))
}

// The log of a test that lost packets to one of several rules without counters says how to find out which, and with a trace
// the rule is named.
func TestLogSaysHowToTrace(t *testing.T) {
	rules := netnsenv.NFT("table ip u { chain in { type filter hook input priority 0; tcp dport 81 drop; tcp dport 80 drop; }; }")
	const named, command = "dropped by nft ip u in: tcp dport 80 drop\n", "CTEXP_TRACE=1 go test -run '^TestX$/^a\\.b'\\''c_d$' github.com/ctexp/go-ctexp/ctexp\n"
	for _, c := range []struct {
		env               string
		traced            bool
		hasRule, hasRerun bool
	}{
		{"", false, false, true},
		{"", true, true, false},
		{"1", false, true, false},
		{"0", false, false, true},
	} {
		t.Setenv("CTEXP_TRACE", c.env)
		fake := &redtest.TB{TestName: "TestX/a.b'c_d"}
		log := fake.Run(func(f *redtest.TB) {
			x := ctexp.New(f, netnsenv.Config{Links: veth, Silent: true, Trace: c.traced, Rules: []netnsenv.Ruleset{rules}})
			x.Inject(packet.SYNs(1, web))
			x.Errorf("red")
		})
		needs.Check(t, fake.Lack())
		if rule, rerun := strings.Contains(log, named), strings.Contains(log, command); rule != c.hasRule || rerun != c.hasRerun {
			t.Errorf("CTEXP_TRACE=%s, Config.Trace=%t: the log names the rule: %t, and has the command: %t\n%s", c.env, c.traced, rule, rerun, log)
		}
	}
}

// The log says how to run the test again, and which room and limit its table had.
func TestLogHasTheRoomAndTheCommand(t *testing.T) {
	t.Parallel()
	fake := &redtest.TB{TestName: "TestX/a b"}
	log := fake.Run(func(f *redtest.TB) {
		ctexp.New(f, netnsenv.Config{Links: veth, Room: netnsenv.Free(7)}).Errorf("red")
	})
	needs.Check(t, fake.Lack())
	for _, want := range []string{`(?m)^--- counts \(table: room for 7 entries, limit [0-9,]+(, of which [0-9,]+ are filler)?\)$`, `(?m)^--- again: go test -run '\^TestX\$/\^a b\$' github\.com/ctexp/go-ctexp/ctexp$`} {
		if !regexp.MustCompile(want).MatchString(log) {
			t.Errorf("the log lacks %s:\n%s", want, log)
		}
	}
}

// A counter or a policy that has counted leaves nothing to be traced.
func TestLogDoesNotAskForATraceOfWhatIsKnown(t *testing.T) {
	t.Parallel()
	fake := &redtest.TB{TestName: "TestX"}
	log := fake.Run(func(f *redtest.TB) {
		x := ctexp.New(f, netnsenv.Config{Links: veth, Silent: true, Rules: []netnsenv.Ruleset{
			netnsenv.NFT("table ip u { chain in { type filter hook input priority 0; tcp dport 80 counter drop; }; }")}})
		x.Inject(packet.SYNs(1, web))
		x.Errorf("red")
	})
	needs.Check(t, fake.Lack())
	if strings.Contains(log, "CTEXP_TRACE") {
		t.Error(log)
	}
}
