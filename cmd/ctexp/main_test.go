package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func TestMain(m *testing.M) { ctexp.Main(m) }

const syn = "tcp 198.18.0.2:10000 > 192.0.2.1:22 S"

// host is a ruleset of a host that is reached by the web alone; other also by ssh.
const host = `table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		iifname "wan" tcp dport { 80, 443 } accept
	}
}
`

var other = strings.Replace(host, "80, 443", "22, 80, 443", 1)

// call runs the command in a folder with the files of the tests.
func call(t *testing.T, stdin string, args ...string) (status int, out, errs string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"host.nft": host, "other.nft": other, "wrong.nft": "table inet t {\n\tchain fwd {\n\t}\n}\n", "empty.nft": "",
		"host.rules": "*filter\n:INPUT DROP [0:0]\n-A INPUT -i wan -p tcp --dport 80 -j ACCEPT\nCOMMIT\n",
		"good.cases": "rules host.nft\n\n" + syn + " => drop\n\ntcp 198.18.0.2:1 > 192.0.2.1:80 S => accept\n",
		"bad.cases":  "rules host.nft\n\n" + syn + " => accept\n", "none.cases": syn + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, "DIR", dir)
	}
	var o, e bytes.Buffer
	c := command{args: args, stdin: strings.NewReader(stdin), stdout: &o, stderr: &e, tty: stdin == ""}
	status = c.run(t.Context())
	shown := func(b *bytes.Buffer) string { return strings.ReplaceAll(b.String(), dir, "DIR") }
	return status, shown(&o), shown(&e)
}

// able skips a test on a machine without namespaces or nft.
func able(t *testing.T) {
	t.Helper()
	env, err := netnsenv.Open(t.Context(), netnsenv.Config{Rules: []netnsenv.Ruleset{netnsenv.NFT("table inet t { }")}})
	ctexp.Require(t, "open", err)
	if err := env.Close(); err != nil {
		t.Fatal(err)
	}
}

// Each question has its exit status and what is printed for it.
func TestTry(t *testing.T) {
	t.Parallel()
	able(t)
	for name, tt := range map[string]struct {
		args   []string
		stdin  string
		status int
		want   []string
	}{
		"a packet":           {[]string{"try", "-rules", "DIR/host.nft", syn}, "", 0, []string{"comes in on wan: prerouting, input; NEW", "inet filter input: policy drop", "-links 'wan 192.0.2.1/32 default'"}},
		"flags behind":       {[]string{"try", syn, "-rules", "DIR/host.nft", "-expect", "accept"}, "", 1, []string{"argument:1: want accept, got drop"}},
		"as expected":        {[]string{"try", "-rules", "DIR/host.nft", "-expect", "drop", syn}, "", 0, []string{"ok: argument: 1 case in 1 block"}},
		"own expectation":    {[]string{"try", "-rules", "DIR/host.nft", syn + " => drop"}, "", 0, []string{"ok: "}},
		"iptables-save":      {[]string{"try", "-rules", "DIR/host.rules", "-expect", "drop", syn}, "", 0, []string{"ok: "}},
		"two files":          {[]string{"try", "-rules", "DIR/host.nft", "-rules", "DIR/host.rules", "-expect", "accept", "tcp 198.18.0.2:1 > 192.0.2.1:80 S"}, "", 0, []string{"ok: "}},
		"standard input":     {[]string{"try", "-rules", "DIR/host.nft", "-expect", "drop"}, syn + "\n" + syn, 0, []string{"ok: standard input: 2 cases in 1 block"}},
		"rules from input":   {[]string{"try", "-rules", "-", "-expect", "drop", syn}, host, 0, []string{"ok: argument: 1 case in 1 block"}},
		"a line of a report": {[]string{"try", "15:37:08.471190 tun0 In  IP 198.18.0.2.10000–10006 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0 ×7"}, "", 0, []string{"comes in on tun0: prerouting, input; NEW", "-links 'tun0 192.0.2.1/32 default'"}},
		"a suite":            {[]string{"try", "-cases", "DIR/good.cases"}, "", 0, []string{"ok: DIR/good.cases: 2 cases in 2 blocks"}},
		"a suite as it is":   {[]string{"try", "DIR/good.cases"}, "", 0, []string{"ok: DIR/good.cases: 2 cases in 2 blocks"}},
		"a suite, in full":   {[]string{"try", "-v", "-cases", "DIR/good.cases"}, "", 0, []string{"policy drop", "tcp dport { 80, 443 } accept -> accept", "ok: "}},
		"a suite that fails": {[]string{"try", "-cases", "DIR/bad.cases"}, "", 1, []string{"DIR/bad.cases:3: want accept, got drop", "DIR/bad.cases: 1 case in 1 block, 1 failed"}},
		"the same rules":     {[]string{"try", "-rules", "DIR/host.nft", "-compare", "DIR/host.nft", syn}, "", 0, []string{"no differences (packets: 1)"}},
		"other rules":        {[]string{"try", "-rules", "DIR/host.nft", "-compare", "DIR/other.nft", syn, "tcp 198.18.0.2:1 > 192.0.2.1:80 S"}, "", 1, []string{"argument:1: " + syn, "DIR/host.nft:\n    comes in on wan", "DIR/other.nft:\n    comes in on wan", "tcp dport { 22, 80, 443 } accept -> accept"}},
		"help":               {[]string{"try", "-h"}, "", 0, []string{"-rules file"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, out, errs := call(t, tt.stdin, tt.args...)
			for _, w := range tt.want {
				if status != tt.status || !strings.Contains(out+errs, w) {
					t.Errorf("status %d, want %d, and %q in it:\n%s%s", status, tt.status, w, out, errs)
				}
			}
		})
	}
}

// Wrong inputs end with status 2 and one line with place and remedy.
func TestWrongInputs(t *testing.T) {
	t.Parallel()
	able(t)
	for name, tt := range map[string]struct {
		args  []string
		stdin string
		want  string
	}{
		"no packets":            {[]string{"try"}, "", "ctexp: try: there are no packets: ctexp try -rules my.nft 'tcp 198.18.0.2:10000 > 192.0.2.1:80 S'"},
		"no file":               {[]string{"try", "-rules", "DIR/no.nft", syn}, "", "ctexp: rules: open DIR/no.nft: no such file or directory"},
		"empty rules":           {[]string{"try", "-rules", "DIR/empty.nft", syn}, "", "ctexp: rules: DIR/empty.nft: there are no rules: the file is empty or has only comments"},
		"wrong rules":           {[]string{"try", "-rules", "DIR/wrong.nft", syn}, "", `ctexp: DIR/wrong.nft:2:8: "fwd" is a keyword of nft and cannot be a name: chain fwd {`},
		"unquoted":              {[]string{"try", "-rules", "DIR/host.nft", "tcp", "198.18.0.2:1"}, "", `ctexp: argument 1, "tcp": a packet is one argument in quotes: 'tcp 198.18.0.2:10000 > 192.0.2.1:80 S'`},
		"neither":               {[]string{"try", "nothing"}, "", `ctexp: argument 1, "nothing": is neither a packet, such as 'tcp 198.18.0.2:10000 > 192.0.2.1:80 S', nor a file`},
		"wrong packet":          {[]string{"try", syn, "tcp 198.18.0.2:x > 192.0.2.1:1"}, "", `ctexp: argument 2: column 5: "198.18.0.2:x" is no address: want 192.0.2.1, or with a port 192.0.2.1:80 or [2001:db8::1]:80: "tcp 198.18.0.2:x > 192.0.2.1:1"`},
		"expectation":           {[]string{"try", "-expect", "block", syn}, "", `ctexp: -expect: line 1, column 1: "block" is no expectation: want accept, drop, reject, lost, held, host or out LINK`},
		"flag":                  {[]string{"try", "-rule", "x", syn}, "", "ctexp: try: flag provided but not defined: -rule; ctexp try -h has the flags"},
		"no expectation":        {[]string{"try", "-cases", "DIR/none.cases"}, "", `ctexp: DIR/none.cases:1: nothing is expected: write "=> accept" or so behind the packet, or use -f for packets without`},
		"two sources":           {[]string{"try", "-cases", "DIR/good.cases", syn}, "", "ctexp: try: packets come from the arguments, -cases, -f or -pcap: give one of them"},
		"links":                 {[]string{"try", "-links", "wan 192.0.2.1", syn}, "", `ctexp: links: line 1: link wan: "192.0.2.1": want an address with its prefix length, such as 192.0.2.1/24, or default, route, mtu`},
		"like what":             {[]string{"try", "-like", "eth0", syn}, "", "ctexp: -like eth0: want a process, as 1234 or /proc/1234/ns/net"},
		"like nobody":           {[]string{"try", "-like", "/proc/0/ns/net", syn}, "", "ctexp: -like /proc/0/ns/net: there is no such process, or it is hidden from this user"},
		"both":                  {[]string{"try", "-like", "1", "-links", "a 10.0.0.1/24", syn}, "", "ctexp: -links and -like: give one of them"},
		"report where":          {[]string{"try", "-report", "DIR/no/out.html", syn}, "", "ctexp: -report: DIR/no/out.html: there is no folder DIR/no"},
		"report on what":        {[]string{"try", "-report", "DIR", syn}, "", "ctexp: -report: open DIR: is a directory"},
		"definition":            {[]string{"try", "-D", "wan", syn}, "", "ctexp: -D wan: want name=value, such as wan=eth0"},
		"compared":              {[]string{"try", "-json", "-compare", "DIR/other.nft", syn}, "", "ctexp: -compare prints the differences alone: not with -expect, -json, -report or -v"},
		"compared and expected": {[]string{"try", "-expect", "accept", "-compare", "DIR/other.nft", syn}, "", "ctexp: -compare prints the differences alone: not with -expect, -json, -report or -v"},
		"rules not met": {[]string{"try", "-rules", "DIR/host.nft", "-compare", "DIR/other.nft", "-links", "wan 192.0.2.1/24 default", "udp 192.0.2.1:1 > 198.18.0.2:2"}, "",
			"ctexp: vacuous: no packet got to what differs between DIR/host.nft and DIR/other.nft: chain inet filter input of DIR/host.nft (input at priority 0), "},
		"missing link": {[]string{"try", "-links", "eth0 192.0.2.1/24 default", "-rules", "DIR/host.nft", syn}, "",
			"ctexp: DIR/host.nft:4: there is no link \"wan\", only lo, eth0 (MissingLinks allows it): iifname \"wan\" tcp dport { 80, 443 } accept\n" +
				"ctexp: -links gives the host more links, -missing-links allows rules that name others"},
		"no recording": {[]string{"try", "-pcap", "DIR/host.nft"}, "", "ctexp: DIR/host.nft: "},
		"nothing in":   {[]string{"try"}, "\n", "ctexp: standard input: there are no packets: want lines such as tcp 198.18.0.2:10000 > 192.0.2.1:80 S => drop"},
		"command":      {[]string{"tri"}, "", `ctexp: there is no command "tri": want try or doctor`},
		"doctor":       {[]string{"doctor", "x"}, "", `ctexp: doctor: "x" was not expected: it has no arguments`},
		"nothing":      {nil, "", "usage:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, out, errs := call(t, tt.stdin, tt.args...)
			if status != 2 || out != "" || !strings.HasPrefix(errs, tt.want) || strings.Count(errs, "\n") > strings.Count(tt.want, "\n")+1 && tt.args != nil && tt.args[0] == "try" {
				t.Errorf("status %d:\n%s%swant status 2 and\n%s", status, out, errs, tt.want)
			}
		})
	}
}

// With -missing-links the host may lack what rules name; with -links it has what a text says.
func TestLinks(t *testing.T) {
	t.Parallel()
	able(t)

	status, out, errs := call(t, "", "try", "-missing-links", "-links", "eth0 192.0.2.1/24 default", "-rules", "DIR/host.nft", "-expect", "drop", "tcp 198.18.0.2:1 > 192.0.2.1:80 S")

	if status != 0 || errs != "" {
		t.Errorf("status %d:\n%s%s", status, out, errs)
	}
}

// With -like the host is a copy of another network, with its rules unless others are given.
func TestLike(t *testing.T) {
	t.Parallel()
	able(t)
	env, err := netnsenv.Open(t.Context(), netnsenv.Config{
		Links: []netnsenv.LinkConfig{{Name: "wan", Kind: netnsenv.Veth, Mark: 7}},
		Rules: []netnsenv.Ruleset{netnsenv.NFT(host)},
	})
	ctexp.Require(t, "open", err)
	t.Cleanup(func() { _ = env.Close() })
	web, ssh := "tcp 198.18.0.2:1 > 192.0.2.1:80 S", "in wan "+syn
	for name, tt := range map[string]struct {
		args   []string
		status int
		want   []string
	}{
		"its rules":    {[]string{ssh + " => drop", "in wan " + web + " => accept"}, 0, []string{"ok: "}},
		"other rules":  {[]string{"-rules", "DIR/other.nft", ssh + " => accept"}, 0, []string{"ok: "}},
		"both":         {[]string{"-compare", "DIR/other.nft", ssh, "in wan " + web}, 1, []string{"the rules of -like " + env.Path() + ":", "DIR/other.nft:", "{ 22, 80, 443 }"}},
		"given before": {[]string{"-rules", "DIR/other.nft", "-compare", "DIR/other.nft", ssh}, 0, []string{"no differences"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, out, errs := call(t, "", append([]string{"try", "-like", env.Path()}, tt.args...)...)
			for _, w := range tt.want {
				if status != tt.status || !strings.Contains(out+errs, w) {
					t.Errorf("status %d, want %d, and %q in it:\n%s%s", status, tt.status, w, out, errs)
				}
			}
		})
	}
}

// The value of -like is found before flags are parsed, so that the process outside can read the network.
func TestLikePaths(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"ctexp try -like 12 x":               "/proc/12/ns/net",
		"ctexp try x --like=/proc/12/ns/net": "/proc/12/ns/net",
		"ctexp try -like /run/netns/a x":     "/run/netns/a",
		"ctexp try -like host":               "/proc/self/ns/net",
		"ctexp try -like eth0":               "", "ctexp try -like": "", "ctexp try -links host": "",
	} {
		if got := strings.Join(likePaths(strings.Fields(args)), " "); got != want {
			t.Errorf("%s: got %q, want %q", args, got, want)
		}
	}
}

// The page and the JSON are about the packets.
func TestReportAndJSON(t *testing.T) {
	t.Parallel()
	able(t)
	page := filepath.Join(t.TempDir(), "out.html")

	status, out, errs := call(t, "", "try", "-json", "-report", page, "-rules", "DIR/host.nft", syn)

	var d struct{ Results []struct{ Verdict string } }
	if err := json.Unmarshal([]byte(out), &d); err != nil || status != 0 || d.Results[0].Verdict != "drop" {
		t.Errorf("%v, status %d:\n%s%s", err, status, out, errs)
	}
	text, err := os.ReadFile(page)
	if err != nil || !strings.Contains(string(text), "<html") || !strings.Contains(string(text), "policy drop") {
		t.Errorf("the page: %v, %d bytes", err, len(text))
	}
}

// What is printed as it is written fits a terminal of 80 columns: wrapped there, its lines would be ragged.
func TestUsageFitsATerminal(t *testing.T) {
	t.Parallel()
	for line := range strings.Lines(usage + tryUsage) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

// The page begins with what failed: file and line, what was wanted and got, and the way of the packet. Otherwise it does not say that
// something has passed, because nobody said what should. It names no files that are not there.
func TestPageBeginsWithTheFailure(t *testing.T) {
	t.Parallel()
	able(t)
	page := filepath.Join(t.TempDir(), "out.html")
	for _, tt := range []struct {
		packet string
		status int
		want   string
	}{
		{syn + " => accept", 1, `(?s)<h1>.*failed</span>.*<h2><code>argument:1</code> want accept, got drop</h2>.*policy drop.*id="path"`},
		{syn, 0, `(?s)<h1>[^!]*</h1>\n<div class="sub"><span>1 packet`},
	} {
		status, out, errs := call(t, "", "try", "-report", page, "-rules", "DIR/host.nft", tt.packet)
		text, err := os.ReadFile(page)
		if err != nil || status != tt.status || !regexp.MustCompile(tt.want).Match(text) {
			t.Errorf("%s: %v, status %d, the page is not as %s:\n%s%s", tt.packet, err, status, tt.want, out, errs)
		}
		if strings.Contains(string(text), ">passed<") || strings.Contains(string(text), "Beside this page") {
			t.Errorf("%s: the page says that something has passed, or that there are files", tt.packet)
		}
	}
}

// The doctor has ten lines, and is content where packets can be tried.
func TestDoctor(t *testing.T) {
	t.Parallel()
	able(t)

	status, out, errs := call(t, "", "doctor")

	if n := strings.Count(out, "\n"); status != 0 || n != 10 || errs != "" || strings.Contains(out, "??") {
		t.Errorf("status %d, %d lines:\n%s%s", status, n, out, errs)
	}
}

// What is missing is told once with its cure; what went wrong is told, too.
func TestDoctorTellsACureOnce(t *testing.T) {
	t.Parallel()
	lack := func(context.Context) (string, error) {
		return "", fmt.Errorf("open: %w", &nf.UnsupportedError{Need: "wings", Hint: "grow some"})
	}
	var out bytes.Buffer

	err := command{stdout: &out}.examine(t.Context(), []check{
		{"air", false, func(context.Context) (string, error) { return "is there", nil }},
		{"flight", true, lack}, {"glide", false, lack},
		{"landing", false, func(context.Context) (string, error) { return "", errors.New("too\nhard") }},
	})

	want := `ok  air                is there
--  flight             needs wings (grow some)
--  glide              needs wings, as flight
??  landing            too\nhard
`
	if !errors.Is(err, errNot) || out.String() != want {
		t.Errorf("%v, got\n%swant\n%s", err, out.String(), want)
	}
}
