package cases_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/cases"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/internal/golden"
)

// The rules of these tests: a router between wan and lan with a rule for each verdict.
const router = `
table inet t {
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state invalid drop
		ct state established,related accept
		iifname "lan" tcp dport 25 reject
		iifname "lan" accept
	}
	chain output {
		type filter hook output priority filter; policy accept;
		udp dport 514 drop comment "no logs"
	}
}
table ip nat {
	chain postrouting {
		type nat hook postrouting priority srcnat;
		oifname "wan" masquerade
	}
}
`

const links = "link wan 192.0.2.1/24 default\nlink lan 10.0.0.1/24\n"

// open makes a suite of lines with the rules of the router.
func open(t *testing.T, lines ...string) (cases.Suite, func() (cases.Result, error)) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "router.nft"), []byte(router), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "router.cases")
	if err := os.WriteFile(file, []byte("rules router.nft\n"+links+strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := cases.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s.Name = "router.cases"
	return s, func() (cases.Result, error) {
		cfg, err := s.Config()
		if err != nil {
			return cases.Result{}, err
		}
		return s.Run(t.Context(), cfg)
	}
}

// asExpected has each verdict and each expectation.
var asExpected = []string{
	"tcp 10.0.0.2:4000 > 198.51.100.7:443 S => out wan tcp 192.0.2.1:4000 > 198.51.100.7:443 S ttl 63",
	"tcp 198.51.100.7:443 > 192.0.2.1:4000 S. => out lan tcp 198.51.100.7:443 > 10.0.0.2:4000 S.",
	"tcp 198.51.100.7:443 > 192.0.2.1:4000 . => accept",
	"",
	"tcp 198.51.100.7:443 > 10.0.0.2:4000 S => drop",
	"tcp 198.51.100.7:443 > 10.0.0.2:4000 S. => drop",
	"in wan tcp 10.0.0.2:4000 > 10.0.0.3:443 S => drop",
	"",
	"tcp 10.0.0.2:4000 > 198.51.100.7:25 S => reject",
	"tcp 10.0.0.2:4001 > 198.51.100.7:443 S ttl 1 => lost",
	"tcp 10.0.0.2:4000 > 192.0.2.1:22 S => host",
	"",
	"tcp 192.0.2.1:4000 > 198.51.100.7:443 S => out wan",
	"udp 10.0.0.1:514 > 10.0.0.2:514 => drop",
	"udp 10.0.0.1:514 > 10.0.0.2:515 => out lan",
	"",
	"udp 10.0.0.2:4000 > 198.51.100.7:53 (frag 7:8@0+) => held",
}

func TestEachVerdict(t *testing.T) {
	t.Parallel()
	s, run := open(t, asExpected...)

	got, err := run()

	ctexp.Require(t, "run", err)
	if want := "router.cases: 13 cases in 5 blocks"; got.String() != want {
		t.Errorf("got\n%v\nwant %s", got, want)
	}
	for _, g := range got.All() {
		if g.Case.Line < 9 && g.Explained {
			t.Errorf("line %d was explained, although the block is as expected", g.Case.Line)
		}
	}
	cfg, err := s.Config()
	if err != nil {
		t.Fatal(err)
	}
	labs := 0
	explained, err := s.Explain(t.Context(), cfg, func(lab *ctexp.Lab, _ []cases.Got) error {
		labs++
		return lab.Env.Do(func() error { return nil })
	})
	if err != nil || labs != len(s.Blocks) || explained.String() != got.String() {
		t.Errorf("explained in %d Labs: %v\n%v", labs, err, explained)
	}
}

// Nothing of a block is left in the next one: the same packet is new in each.
func TestBlocksAreSeparate(t *testing.T) {
	t.Parallel()
	back := "udp 198.51.100.7:53 > 192.0.2.1:4000"
	_, run := open(t, "udp 10.0.0.2:4000 > 198.51.100.7:53 => out wan", back+" => out lan", "", back+" => host")

	got, err := run()

	ctexp.Require(t, "run", err)
	if n := len(got.Failures()); n > 0 {
		t.Errorf("%d failed:\n%v", n, got)
	}
}

// Failures have the line, what was wanted and the way of the packet; as JSON, too.
func TestFailuresAreExplained(t *testing.T) {
	t.Parallel()
	_, run := open(t,
		"tcp 10.0.0.2:4000 > 198.51.100.7:443 S => drop",
		"tcp 198.51.100.7:443 > 192.0.2.1:4000 S. => out lan tcp 198.51.100.7:443 > 10.0.0.3:4000 S.",
		"tcp 10.0.0.2:4000 > 198.51.100.7:443 . => out lan",
		"",
		"tcp 198.51.100.7:443 > 10.0.0.2:4000 S => accept",
		"tcp 10.0.0.2:4000 > 198.51.100.7:25 S => drop",
		"tcp 10.0.0.2:4000 > 198.51.100.7:443 S ttl 1 => drop",
		"tcp 10.0.0.2:4000 > 198.51.100.7:444 S => host",
		"udp 10.0.0.1:514 > 10.0.0.2:514 => out lan",
	)

	got, err := run()

	ctexp.Require(t, "run", err)
	golden.Check(t, "failures.golden", got.String()+"\n")
	text, err := got.JSON()
	var d struct {
		Cases, Failed int
		Results       []struct {
			Line                    int
			Verdict, Differs, Class string
			Rules                   []struct{ Rule, Verdict string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	first := fmt.Sprint(d.Cases, d.Failed, d.Results[0])
	if want := `8 8 {4 accept want drop, got accept NEW [{iifname "lan" accept accept} {oifname "wan" masquerade accept}]}`; err != nil || first != want {
		t.Errorf("%v\n got %s\nwant %s", err, first, want)
	}
}

// What cannot be asked is an error with the line.
func TestWhatCannotBeAsked(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"in dmz udp 10.0.0.2:1 > 192.0.2.1:2 => drop":    `router.cases:4: the host has no link "dmz"; it has wan, lan`,
		"udp 10.0.0.2:1 > 192.0.2.1:2 => out dmz":        `router.cases:4: the host has no link "dmz"; it has wan, lan`,
		"udp 192.0.2.1:1 > [2001:db8::1]:2 => drop":      "another family",
		"udp [2001:db8::1]:1 > [2001:db8::2]:2 => drop":  "",
		"udp 192.0.2.1:1 > 255.255.255.255:2 => out wan": "",
	} {
		s, err := cases.Parse("router.cases", links+"\n"+line)
		if err == nil {
			var cfg, _ = s.Config()
			_, err = s.Run(t.Context(), cfg)
			if lacksMachine(err) {
				ctexp.Require(t, "run", err)
			}
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s:\n got %v\nwant %s", line, err, want)
		}
	}
}

func lacksMachine(err error) bool { return err != nil && strings.Contains(err.Error(), "needs ") }

// Wrong rules are told with the file, also those of an included one.
func TestWrongRulesAreToldWithTheirFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	write("inner.nft", "table inet t {\n\tchain c { iifname \"dmz\" bogus; }\n}\n")
	write("good.nft", "table inet t {\n\tchain c { iifname \"dmz\" accept; }\n}\n")
	good := write("a.nft", "include \"./good.nft\"\ntable inet u { chain c { iifname $w accept; }; }\n")
	bad := write("b.nft", "\ninclude \"./inner.nft\"\n")
	load := func(file string) error {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r, err := cases.Rules(file, string(text), "w=dmz")
		if err != nil {
			t.Fatal(err)
		}
		s, err := cases.Parse("f", "udp 10.0.0.2:1 > 192.0.2.1:2 => host")
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Run(t.Context(), cases.Config(cases.GuessLinks([]netnsenv.Ruleset{r}, s.Packets()), r))
		return err
	}

	if err := load(good); err != nil {
		ctexp.Require(t, "load", err)
	}
	err := load(bad)
	if want := filepath.Join(dir, "inner.nft") + ":2:"; err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "bogus") {
		t.Errorf("got %v, want %s in it", err, want)
	}
}

// A rule of the last priority drops what looks lost by the way; a link that rules name is missing, unless it can never be.
func TestLostIsNotDropped(t *testing.T) {
	t.Parallel()
	s, err := cases.Parse("f", links+"\ntcp 10.0.0.2:1 > 198.51.100.7:10 S => lost")
	if err != nil {
		t.Fatal(err)
	}
	run := func(rule string) (cases.Result, error) {
		r, err := cases.Rules("late.nft", "table inet t { chain c { type filter hook forward priority 2147483647; "+rule+"; }; }")
		if err != nil {
			t.Fatal(err)
		}
		return s.Run(t.Context(), cases.Config(s.Links, r))
	}

	got, err := run(`iifname "/never/" accept; tcp dport 10 drop`)

	ctexp.Require(t, "run", err)
	if n := got.Failures(); len(n) != 1 || n[0].Differs != "want lost, got drop" {
		t.Errorf("got %v", got)
	}
	if _, err := run(`iifname "dmz" drop`); err == nil || !strings.Contains(err.Error(), `there is no link "dmz"`) {
		t.Errorf("got %v", err)
	}
}

// Compare has what becomes different under other rules, on the link that the case names and block by block, and nothing else.
func TestCompareHasTheDifferencesAlone(t *testing.T) {
	t.Parallel()
	s, err := cases.Parse("f", links+"\nin wan udp 10.0.0.2:1 > 10.0.0.3:10\n\nudp 10.0.0.2:1 > 10.0.0.3:11")
	if err != nil {
		t.Fatal(err)
	}
	run := func(rule string) cases.Result {
		r, err := cases.Rules("f.nft", "table inet t { chain c { type filter hook forward priority 0; "+rule+"; }; }")
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Explain(t.Context(), cases.Config(s.Links, r), nil)
		ctexp.Require(t, "explain", err)
		return got
	}
	silent, loud := run(`iifname "wan" drop`), run(`iifname "wan" reject`)

	got := cases.Compare("silent", silent, "loud", loud)

	if !strings.HasPrefix(got, "f:4: in wan udp 10.0.0.2:1 > 10.0.0.3:10\n  silent:\n    comes in on wan") || !strings.Contains(got, "\n  loud:\n") || strings.Contains(got, "f:6:") {
		t.Errorf("got\n%s", got)
	}
	if same := cases.Compare("a", silent, "b", silent); same != "" {
		t.Errorf("the same has a difference:\n%s", same)
	}
}

// That nothing becomes different proves something if a packet of one block got to where the rules differ.
func TestCompareKnowsWhatIsNotMet(t *testing.T) {
	t.Parallel()
	s, err := cases.Parse("f", links+"\nudp 10.0.0.2:1 > 192.0.2.1:10\n\nudp 10.0.0.2:1 > 10.0.0.1:11")
	if err != nil {
		t.Fatal(err)
	}
	for where, want := range map[string]string{
		"forward": "vacuous: no packet got to what differs between a and b: chain inet t c of a (forward at priority 0), chain inet t c of b (forward at priority 0); send one that gets there\n",
		"input":   "",
	} {
		run := func(rule string) cases.Result {
			r, err := cases.Rules("f.nft", "table inet t { chain c { type filter hook "+where+" priority 0; "+rule+"; }; }")
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Explain(t.Context(), cases.Config(s.Links, r), nil)
			ctexp.Require(t, "explain", err)
			return got
		}
		a, b := run("udp dport 12 drop"), run("udp dport 13 drop")
		if got := cases.Compare("a", a, "b", b); got != want {
			t.Errorf("%s: got\n%swant\n%s", where, got, want)
		}
		if a.Reach = (ctexp.Reach{}); cases.Compare("a", a, "b", b) != "" {
			t.Errorf("%s: vacuous, although that is meant", where)
		}
	}
}

// Listings of conntrack in all forms are the state that the packets meet.
func TestListingsAreState(t *testing.T) {
	t.Parallel()
	s, err := cases.Parse("f", "udp 192.0.2.1:2 > 198.18.0.2:1")
	if err != nil {
		t.Fatal(err)
	}
	s.Links, err = cases.ParseLinks("eth0 192.0.2.1/24 default")
	if err != nil {
		t.Fatal(err)
	}
	for kind, text := range map[string]string{
		"-L":      "udp 17 30 src=198.18.0.2 dst=192.0.2.1 sport=1 dport=2 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=2 dport=1",
		"-E":      "    [NEW] udp      17 30 src=198.18.0.2 dst=192.0.2.1 sport=1 dport=2 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=2 dport=1",
		"-o save": "-A -t 26 -u UNSET -s 198.18.0.2 -d 192.0.2.1 -r 192.0.2.1 -q 198.18.0.2 -p udp --sport 1 --dport 2 --reply-port-src 2 --reply-port-dst 1",
	} {
		r, err := cases.Rules("listing.txt", text)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		got, err := s.Explain(t.Context(), cases.Config(s.Links, r), nil)
		ctexp.Require(t, "explain", err)
		if class := got.All()[0].Outcome.Fate.Frame.Class.String(); class != "ESTABLISHED_REPLY" {
			t.Errorf("%s: the answer is %s", kind, class)
		}
	}
}

// Lines that are pasted around rules are told with their number.
func TestPastedLinesAreTold(t *testing.T) {
	t.Parallel()
	s, err := cases.Parse("f", "udp 10.0.0.2:1 > 192.0.2.1:2 => host")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"root@host:~# iptables-save\n*filter\nCOMMIT\n":                "f:1: is no line of iptables-save: cut it: root@host:~# iptables-save",
		"root@host:~# nft list ruleset\ntable inet t {\n\tchain c {\n": "f:1:",
	} {
		r, err := cases.Rules("f", text)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Run(t.Context(), cases.Config(cases.GuessLinks(nil, nil), r))
		if lacksMachine(err) {
			ctexp.Require(t, "run", err)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
}

// falseExpectations are what packets do not become, each with what is wrong with it.
var falseExpectations = []struct{ before, line, want string }{
	{"", "tcp 10.0.0.2:4000 > 198.51.100.7:443 S => out wan tcp 192.0.2.1:4000 > 198.51.100.7:443 S urg 7", "want urgent 7, got urgent 0"},
	{"", "tcp 10.0.0.2:4000 > 198.51.100.7:443 S df => out wan tcp 192.0.2.1:4000 > 198.51.100.7:443 S nodf", "want fragment [] offset 0, got fragment [DF] offset 0"},
	{"", "tcp 10.0.0.2:4000 > 198.51.100.7:443 S => out wan tcp 192.0.2.1:4000 > 198.51.100.7:443 S options [mss 9]", "want options mss 9, got no options"},
	{"", "tcp 10.0.0.2:4000 > 198.51.100.7:443 S options [mss 9] => out wan tcp 192.0.2.1:4000 > 198.51.100.7:443 S options []", "want no options, got options mss 9"},
	{"udp 10.0.0.2:4000 > 198.51.100.7:53 => accept", "icmp 203.0.113.1 > 192.0.2.1 time exceeded in transit for (IP 192.0.2.1.4000 > 198.51.100.7.53: UDP, length 0) => " +
		"out lan icmp 203.0.113.1 > 10.0.0.2 time exceeded in transit for (IP 192.0.2.1.4000 > 198.51.100.7.53: UDP, length 0)", "want about src 192.0.2.1, got about src 10.0.0.2"},
	{"udp 10.0.0.2:4000 > 198.51.100.7:53 => accept", "icmp 203.0.113.1 > 192.0.2.1 fragmentation needed mtu 1400 for (IP 192.0.2.1.4000 > 198.51.100.7.53: UDP, length 0) => " +
		"out lan icmp 203.0.113.1 > 10.0.0.2 fragmentation needed mtu 9", "want rest 0x00000009, got rest 0x00000578"},
	{"", "sctp 10.0.0.2:4000 > 198.51.100.7:443 [INIT tag 1 tsn 5] => out wan sctp 192.0.2.1:4000 > 198.51.100.7:443 [INIT tag 9 tsn 5]", "want chunk 1 [INIT tag 9, tsn 5], got chunk 1 [INIT tag 1, tsn 5]"},
	{"", "gre 10.0.0.2 > 198.51.100.7 key 5 => out wan gre 192.0.2.1 > 198.51.100.7 key 6", "want key 6, got key 5"},
	{"", "gre 10.0.0.2 > 198.51.100.7 : udp 10.1.0.1:1 > 10.1.0.2:2 => out wan gre 192.0.2.1 > 198.51.100.7 : udp 10.1.0.1:1 > 10.1.0.2:3", "want payload "},
}

// An expectation is red for each field that its packet says and the kernel's does not have.
func TestEachFieldOfAnExpectationIsCompared(t *testing.T) {
	t.Parallel()
	var lines []string
	for _, f := range falseExpectations {
		lines = append(lines, f.before, f.line, "")
	}
	_, run := open(t, lines...)

	got, err := run()

	ctexp.Require(t, "run", err)
	failures := got.Failures()
	if len(failures) != len(falseExpectations) {
		t.Fatalf("got %d failures, want %d:\n%v", len(failures), len(falseExpectations), got)
	}
	for i, f := range falseExpectations {
		if g := failures[i]; g.Case.Text != f.line || !strings.HasPrefix(g.Differs, f.want) {
			t.Errorf("%s\n got %s\nwant %s", f.line, g.Differs, f.want)
		}
	}
}

// An identification of the IP header that no line says is not compared: that of an echo is another one.
func TestIdentificationOfAnEchoIsItsOwn(t *testing.T) {
	t.Parallel()
	s, err := cases.Parse("echo.cases", links+
		"icmp 10.0.0.2 > 10.0.0.1 echo request id 7 seq 1 => out lan icmp 10.0.0.1 > 10.0.0.2 echo reply id 7 seq 1\n"+
		"icmp 10.0.0.2 > 10.0.0.1 echo request id 7 seq 2 => out lan icmp 10.0.0.1 > 10.0.0.2 echo reply id 8 seq 2\n")
	if err != nil {
		t.Fatal(err)
	}
	cfg := cases.Config(s.Links)
	cfg.Silent = false

	got, err := s.Run(t.Context(), cfg)

	ctexp.Require(t, "run", err)
	if f := got.Failures(); len(f) != 1 || f[0].Differs != "want query id 8, got query id 7" {
		t.Errorf("got %v", got)
	}
}

// Test fails a test once for each case that is not as expected.
func TestTestFailsWithTheLine(t *testing.T) {
	t.Parallel()
	s, _ := open(t, "tcp 10.0.0.2:4000 > 198.51.100.7:443 S => drop", "tcp 10.0.0.2:4000 > 198.51.100.7:25 S => reject")
	file := filepath.Join(filepath.Dir(s.Rules[0]), "router.cases")
	f := &fake{TB: t}

	cases.Test(f, file)

	if len(f.errors) != 1 || !strings.Contains(f.errors[0], "router.cases:4: want drop, got accept") {
		t.Errorf("got %q", f.errors)
	}
	f = &fake{TB: t}
	cases.Test(f, "no-such.cases")
	if len(f.errors) != 1 || !strings.Contains(f.errors[0], "no-such.cases") {
		t.Errorf("got %q", f.errors)
	}
}

// fake collects the errors of a test.
type fake struct {
	ctexp.TB
	errors []string
}

func (f *fake) Errorf(format string, args ...any) {
	f.errors = append(f.errors, fmt.Sprintf(format, args...))
}
func (f *fake) Fatalf(format string, args ...any) {
	f.errors = append(f.errors, fmt.Sprintf(format, args...))
}

// As many rejects are answered as there are packets, however fast they come, over both families.
func TestManyRejectsAreRejects(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "many.cases")
	text := "rules router.nft\nlink wan 192.0.2.1/24 default 2001:db8:1::1/64\nlink lan 10.0.0.1/24 2001:db8::1/64\n"
	for i := range 70 { // more than the kernel sends in a row, to one destination and to all
		text += fmt.Sprintf("in lan tcp 10.0.0.2:%d > 198.51.100.9:25 S => reject\n", 4000+i)
		text += fmt.Sprintf("in lan tcp [2001:db8::2]:%d > [2001:db8:1::9]:25 S => reject\n", 4000+i)
	}
	for name, text := range map[string]string{"router.nft": router, "many.cases": text} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := cases.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := s.Config()
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Run(t.Context(), cfg)
	ctexp.Require(t, "run", err)
	if n := len(got.Failures()); n != 0 || len(got.All()) != 140 {
		t.Errorf("%d of %d rejects are none", n, len(got.All()))
	}
}
