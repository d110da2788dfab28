package ctexp_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
	"github.com/ctexp/go-ctexp/internal/plain"
	"github.com/ctexp/go-ctexp/internal/redtest"
)

// hostile is text that changes the colour and the title of a terminal, hides and turns what stands beside it, ends lines, and
// runs as a script if a page has it unescaped.
const hostile = "\x1b[31m\x1b]0;title\x07\b\x7f\u009b1m\u202e\u2066\u2069\u2028\u2029\xff\xc3</script><script>alert(1)</script><img src=x onerror=alert(2)>"

// Whoever chooses comments, prefixes, names and payloads has no power over the log, the page and the files of a failed test.
// These are for the user alone that runs the tests.
func TestHostileTextIsShownHarmlessly(t *testing.T) {
	t.Parallel()
	comment := strings.NewReplacer("\xff", "", "\xc3", "").Replace(hostile)
	fake := &redtest.TB{TestName: "TestX/\x1b[31m\u202e<b>"}
	log := fake.Run(func(f *redtest.TB) {
		x := ctexp.New(f, netnsenv.Config{
			Links: []netnsenv.LinkConfig{{
				Name: `<b>&#39;"`, Kind: netnsenv.Veth,
				Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}, Routes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")},
			}},
			Probes: []nf.Probe{{Name: "p" + hostile[:60], Hook: nf.Prerouting, Priority: -300}},
			Rules: []netnsenv.Ruleset{netnsenv.NFT("table ip n {\n chain c {\n type filter hook input priority 5\n" +
				"udp dport 80 counter log prefix \"" + comment[:20] + "\" comment \"" + comment + "\"\n" +
				"tcp dport 80 counter drop comment \"" + comment + "\"\n }\n}")},
		})
		x.Inject(packet.Packets(packet.SYN(web), web.UDP([]byte(hostile)), web.TCP(packet.TCP{Flags: packet.FlagSYN | packet.FlagFIN})))
		x.Errorf("the test's own words: %s", hostile)
		x.Expect(packet.Match{Out: `<b>&#39;"`, Contains: hostile})
	})
	needs.Check(t, fake.Lack())

	if got := plain.Text(log); got != log || !strings.Contains(log, `\x1b[31m`) || !strings.Contains(log, `\u202e`) || !strings.Contains(log, `\xff`) {
		t.Errorf("the log is\n%q", log)
	}
	at := regexp.MustCompile(`(?m)^--- artifacts: (.*)$`).FindStringSubmatch(log)
	if at == nil {
		t.Fatalf("no artifacts in\n%s", log)
	}
	dir := filepath.Dir(at[1])
	if st, err := os.Stat(dir); err != nil || st.Mode() != os.ModeDir|0o700 {
		t.Errorf("the folder: %v, %v", st.Mode(), err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, f := range files {
		name := filepath.Join(dir, f.Name())
		if st, err := os.Stat(name); err != nil || st.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", name, st.Mode(), err)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Name(); !plain.IsVisible(got) || strings.Contains(got, "<") {
			t.Errorf("a file has the name %q", got)
		}
		_, kind, _ := strings.Cut(f.Name(), ".")
		kinds = append(kinds, kind)
		if kind == "capture.pcapng" { // has the packets as they were
			continue
		}
		if got := strings.ReplaceAll(string(text), "\u00a0", " "); plain.Text(got) != got {
			t.Errorf("%s is\n%q", name, text)
		}
		if kind == "report.html" && (strings.Contains(string(text), "<script>alert") || strings.Contains(string(text), "<img src=x")) {
			t.Errorf("%s has a script that is not ours", name)
		}
	}
	for _, want := range []string{"report.html", "result.json", "capture.pcapng", "timeline.txt", "flows.txt", "stats.txt", "ruleset.nft"} {
		if !slices.Contains(kinds, want) {
			t.Errorf("there is no %s, only %v", want, kinds)
		}
	}
}
