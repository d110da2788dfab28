package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/cases"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/patience"
	"github.com/ctexp/go-ctexp/internal/plain"
	"github.com/ctexp/go-ctexp/internal/terminal"
)

// hostLinks is the value of -links for the links of this machine.
const hostLinks = "host"

// tryFlags are the flags of ctexp try.
type tryFlags struct {
	rules, define                   list
	cases, file, pcap, links, like  string
	expect, report, compare         string
	json, verbose, missing, answers bool
}

// list is a flag that may be given several times.
type list []string

// String implements flag.Value.
func (l *list) String() string { return strings.Join(*l, ", ") }

// Set implements flag.Value.
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

const tryUsage = `usage: ctexp try [flags] ['packet' …]

Tries packets against rules, in their order, in a network namespace of its own,
and prints the way of each: the hooks and rules that it met, its class and
entry, and where it left or ended. Packets are lines as tcpdump -n prints them,
or

  tcp 198.18.0.2:10000 > 192.0.2.1:80 S
  udp [2001:db8::2]:1 > [2001:db8::1]:53 payload "x"
  in eth0 icmp 198.18.0.2 > 192.0.2.1 echo request

with "=> accept", drop, reject, lost, held, host, "out LINK" or "out LINK
PACKET" behind them if something is expected. The exit status is 0 if all is as
expected, 1 if not, 2 if the question could not be asked, or if its answer
proves nothing: see -compare.

`

// set returns the flags of try, which are parsed into f.
func (f *tryFlags) set() *flag.FlagSet {
	fs := flag.NewFlagSet("try", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Var(&f.rules, "rules", "`file` with rules, - for standard input, by its looks: nft, iptables-save, commands of iptables, conntrack -L; may be given several times")
	fs.Var(&f.define, "D", "define a variable of nft: `name=value`, such as wan=eth0; may be given several times")
	fs.StringVar(&f.cases, "cases", "", "`file` with packets of which each has an expectation, - for standard input; empty lines end blocks, between which nothing is kept")
	fs.StringVar(&f.file, "f", "", "`file` with packets, with expectations or without, - for standard input")
	fs.StringVar(&f.pcap, "pcap", "", "recording whose packets are tried: a `file` of pcap or pcapng")
	fs.StringVar(&f.links, "links", "", "links of the host under test: a `text` such as 'wan 192.0.2.1/24 default; lan 10.0.0.1/24', a file with it or with the output of ip -br addr and ip route, or \"host\" for those of this machine; default: one for each that the rules name")
	fs.StringVar(&f.like, "like", "", "a host like the network of a `process`, as 1234 or /proc/1234/ns/net, or like this machine: \"host\"; with its links, addresses, routes, sysctls and, without -rules, its rules")
	fs.StringVar(&f.expect, "expect", "", "what is expected of packets that say nothing: accept, drop, reject, …")
	fs.StringVar(&f.report, "report", "", "write a page about the first block of packets that is not as expected, or the first one, to this `file`")
	fs.StringVar(&f.compare, "compare", "", "`file` with other rules: print only what becomes different under them; if nothing does because no packet got to where the rules differ, the exit status is 2")
	fs.BoolVar(&f.json, "json", false, "print the result as JSON")
	fs.BoolVar(&f.verbose, "v", false, "print the way of each packet, also if it is as expected")
	fs.BoolVar(&f.missing, "missing-links", false, "rules may name links that the host does not have, and then match nothing")
	fs.BoolVar(&f.answers, "answers", false, "let the host answer by itself: resets, ICMP errors, echo replies")
	return fs
}

func (c command) try(ctx context.Context, args []string) error {
	var f tryFlags
	fs := f.set()
	packets, err := parseInterspersed(fs, args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(c.stdout, tryUsage+"flags:\n")
		fs.SetOutput(c.stdout)
		fs.PrintDefaults()
		return errHelp
	}
	if err != nil {
		return fmt.Errorf("try: %w; ctexp try -h has the flags", err)
	}
	for _, d := range f.define {
		if name, _, ok := strings.Cut(d, "="); !ok || name == "" {
			return fmt.Errorf("-D %s: want name=value, such as wan=eth0", d)
		}
	}
	if f.report != "" {
		if err := writable(f.report); err != nil {
			return fmt.Errorf("-report: %w", err)
		}
	}
	s, err := c.suite(f, packets)
	if err != nil {
		return err
	}
	rules, err := c.rules(append(f.rules, s.Rules...), f.define)
	if err != nil {
		return err
	}
	if f.compare == "" {
		cfg, err := c.config(ctx, f, s, rules)
		if err != nil {
			return err
		}
		return c.answer(ctx, f, s, cfg)
	}
	if f.json || f.report != "" || f.verbose || f.expect != "" {
		return errors.New("-compare prints the differences alone: not with -expect, -json, -report or -v")
	}
	other, err := c.rules([]string{f.compare}, f.define)
	if err != nil {
		return err
	}
	cfg, err := c.config(ctx, f, s, append(rules, other...)) // with the links of both
	if err != nil {
		return err
	}
	return c.differences(ctx, f, s, cfg, len(cfg.Rules)-len(other))
}

// writable returns an error if a file cannot be written, which is better known before the packets are tried.
func writable(name string) error {
	if _, err := os.Stat(name); err == nil {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return f.Close()
	}
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, ".ctexp")
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%s: there is no folder %s", name, dir)
	case err != nil:
		var of *os.PathError // of the temporary file
		if errors.As(err, &of) {
			of.Path = name
		}
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// parseInterspersed parses flags that may stand before, between and behind other arguments, which it returns.
func parseInterspersed(fs *flag.FlagSet, args []string) (others []string, err error) {
	for {
		if err := fs.Parse(args); err != nil || fs.NArg() == 0 {
			return others, err
		}
		others, args = append(others, fs.Arg(0)), fs.Args()[1:]
	}
}

// suite reads the packets from where the flags say they are.
func (c command) suite(f tryFlags, args []string) (s cases.Suite, err error) {
	sources := 0
	for _, given := range []bool{f.cases != "", f.file != "", f.pcap != "", len(args) > 0} {
		if given {
			sources++
		}
	}
	if len(args) == 1 && sources == 1 && isFile(args[0]) {
		f.file, args = args[0], nil
	}
	switch name := f.cases + f.file; {
	case sources > 1:
		return s, errors.New("try: packets come from the arguments, -cases, -f or -pcap: give one of them")
	case f.pcap != "":
		s, err = recording(f.pcap)
	case len(args) > 0:
		s, err = ofArguments(args)
	case name == "-", name == "" && !c.tty:
		var text []byte
		if text, err = io.ReadAll(c.stdin); err == nil {
			s, err = cases.Parse("standard input", string(text))
		}
	case name != "":
		s, err = cases.ReadFile(name)
	default:
		return s, errors.New("try: there are no packets: ctexp try -rules my.nft 'tcp 198.18.0.2:10000 > 192.0.2.1:80 S'")
	}
	if err != nil {
		return s, err
	}
	return s, expect(s, f)
}

// expect gives packets without an expectation that of -expect.
func expect(s cases.Suite, f tryFlags) error {
	var want cases.Want
	if f.expect != "" {
		var err error
		if want, err = cases.ParseWant(f.expect); err != nil {
			return fmt.Errorf("-expect: %w", err)
		}
	}
	for _, b := range s.Blocks {
		for i := range b.Cases {
			if b.Cases[i].Want.Kind != cases.WantNothing {
				continue
			}
			if b.Cases[i].Want = want; f.cases != "" && f.expect == "" {
				return fmt.Errorf(`%s:%d: nothing is expected: write "=> accept" or so behind the packet, or use -f for packets without`, s.Name, b.Cases[i].Line)
			}
		}
	}
	return nil
}

// ofArguments makes a suite of one block of the arguments.
func ofArguments(args []string) (cases.Suite, error) {
	s := cases.Suite{Name: "argument", Blocks: make([]cases.Block, 1)}
	for i, a := range args {
		one, err := cases.ParseCase(a)
		switch {
		case err == nil:
		case len(args) > 1 && !strings.Contains(a, " "):
			return s, fmt.Errorf("argument %d, %q: a packet is one argument in quotes: 'tcp 198.18.0.2:10000 > 192.0.2.1:80 S'", i+1, a)
		case !strings.Contains(a, " "):
			return s, fmt.Errorf("argument %d, %q: is neither a packet, such as 'tcp 198.18.0.2:10000 > 192.0.2.1:80 S', nor a file", i+1, a)
		default:
			return s, fmt.Errorf("argument %d: %s: %q", i+1, strings.TrimPrefix(err.Error(), "line 1, "), a)
		}
		one.Line = i + 1
		s.Blocks[0].Cases = append(s.Blocks[0].Cases, one)
	}
	return s, nil
}

// recording makes a suite of one block of the packets of a recording. What the recording host has sent comes from its address.
func recording(name string) (cases.Suite, error) {
	s := cases.Suite{Name: name, Blocks: make([]cases.Block, 1)}
	file, err := os.Open(name)
	if err != nil {
		return s, err
	}
	defer file.Close()
	all := &s.Blocks[0].Cases
	for r, err := range packet.ReadRecording(file) {
		if err != nil {
			return s, fmt.Errorf("%s: %w", name, err)
		}
		if r.EtherType == packet.EtherTypeARP {
			continue
		}
		*all = append(*all, cases.Case{Line: r.Number, Text: r.Packet.String(), Trial: ctexp.Trial{Packet: r.Packet}})
	}
	if len(*all) == 0 {
		return s, fmt.Errorf("%s: there are no packets of IP in the recording", name)
	}
	return s, nil
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && !info.IsDir()
}

// rules reads files with rules.
func (c command) rules(names, define []string) (all []netnsenv.Ruleset, err error) {
	for _, name := range names {
		var text []byte
		if name == "-" {
			name = "standard input"
			text, err = io.ReadAll(c.stdin)
		} else {
			text, err = os.ReadFile(name)
		}
		if err != nil {
			return nil, fmt.Errorf("rules: %w", err)
		}
		r, err := cases.Rules(name, string(text), define...)
		if err != nil {
			return nil, fmt.Errorf("rules: %w", err)
		}
		all = append(all, r)
	}
	return all, nil
}

// config returns the host under test. Links that nobody has given are told.
func (c command) config(ctx context.Context, f tryFlags, s cases.Suite, rules []netnsenv.Ruleset) (netnsenv.Config, error) {
	links, err := s.Links, error(nil)
	var like netnsenv.Likeness
	switch {
	case f.links != "" && f.like != "":
		err = errors.New("-links and -like: give one of them")
	case f.like != "":
		like, err = c.likeness(ctx, f.like, len(f.rules)+len(s.Rules) > 0)
	case f.links == hostLinks:
		links, err = c.linksOfHost()
	case isFile(f.links):
		var text []byte
		if text, err = os.ReadFile(f.links); err == nil {
			if links, err = cases.ParseLinks(string(text)); err != nil {
				err = fmt.Errorf("%s: %w", f.links, err)
			}
		}
	case f.links != "":
		links, err = cases.ParseLinks(f.links)
	case links == nil:
		links = s.GuessLinks(rules)
	}
	if err != nil {
		return netnsenv.Config{}, err
	}
	if f.missing {
		for i := range rules {
			rules[i] = cases.MissingLinks(rules[i], "*")
		}
	}
	cfg := cases.Config(links, rules...)
	if f.like != "" {
		like.Config.Rules = append(like.Config.Rules, cfg.Rules...)
		cfg = like.Config
	}
	cfg.Silent = !f.answers
	return cfg, nil
}

// likePaths returns the path of the network namespace that the value of -like in args names: nil if there is none.
func likePaths(args []string) []string {
	for i, a := range args {
		flag, of, joined := strings.Cut(a, "=")
		if flag != "-like" && flag != "--like" {
			continue
		}
		if !joined && i+1 < len(args) {
			of = args[i+1]
		}
		if path, err := likePath(of); err == nil {
			return []string{path}
		}
	}
	return nil
}

// likePath returns the path of the network namespace that a value of -like names.
func likePath(of string) (string, error) {
	if of == hostLinks {
		return "/proc/self/ns/net", nil // of the process outside, see main
	}
	pid := strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(of, "/proc/"), "/ns/net"), "/")
	if _, err := strconv.Atoi(pid); err == nil {
		return "/proc/" + pid + "/ns/net", nil
	}
	if strings.HasPrefix(of, "/") {
		return of, nil
	}
	return "", fmt.Errorf("-like %s: want a process, as 1234 or /proc/1234/ns/net", of)
}

// likeness returns a copy of a network namespace, without its rules if others are given. What is not copied is told.
func (c command) likeness(ctx context.Context, of string, rulesGiven bool) (l netnsenv.Likeness, err error) {
	path, err := likePath(of)
	if err != nil {
		return l, err
	}
	l, err = netnsenv.Like(ctx, path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return l, fmt.Errorf("-like %s: there is no such process, or it is hidden from this user", of)
	}
	if err != nil {
		return l, fmt.Errorf("-like %s: %w", of, err)
	}
	for _, n := range l.NotCopied {
		if rulesGiven && n.Part == netnsenv.PartRules {
			continue
		}
		fmt.Fprintf(c.stderr, "not copied: %v\n", n)
	}
	if rulesGiven {
		l.Config.Rules = nil
	}
	return l, nil
}

// linksOfHost returns the links of this machine. Links that cannot be had are told.
func (c command) linksOfHost() ([]netnsenv.LinkConfig, error) {
	links, leftOut, err := cases.LinksLike("/proc/thread-self/net") // of the machine, see main
	for _, name := range leftOut {
		fmt.Fprintf(c.stderr, "left out: the link %s, whose name is longer than 11 bytes\n", plain.Line(name))
	}
	return links, err
}

// answer runs the suite and prints what became of its packets.
func (c command) answer(ctx context.Context, f tryFlags, s cases.Suite, cfg netnsenv.Config) error {
	var r cases.Result
	var err error
	done := patience.Doing(ctx, trying(s))
	if f.report == "" && !f.verbose {
		r, err = s.Run(ctx, cfg)
	} else {
		r, err = s.Explain(ctx, cfg, pages(ctx, f.report, s.Name))
	}
	done()
	if err != nil {
		return err
	}
	c.tellLinks(f, s, cfg)
	if f.json {
		text, err := r.JSON()
		if err != nil {
			return err
		}
		fmt.Fprintf(terminal.Data(c.stdout), "%s\n", text)
	} else {
		c.print(f, r)
	}
	if len(r.Failures()) > 0 {
		return errNot
	}
	return nil
}

// trying says what a command does that takes long.
func trying(s cases.Suite) string {
	return fmt.Sprintf("still trying packets (%d)", len(s.Packets()))
}

// tellLinks tells the links that nobody has given.
func (c command) tellLinks(f tryFlags, s cases.Suite, cfg netnsenv.Config) {
	if f.links == "" && f.like == "" && s.Links == nil {
		links := strings.ReplaceAll(strings.TrimSpace(cases.LinksText(cfg.Links)), "\n", "; ")
		terminal.Print(c.stderr, terminal.Piece{Text: "assumed, as nothing gives links: ", Style: terminal.Dim}, terminal.Piece{Text: "-links '" + links + "'", Whole: true, Style: terminal.Dim})
	}
}

// print prints the way of each packet that is not as expected or of which nothing is expected, and a summary of the others.
func (c command) print(f tryFlags, r cases.Result) {
	expected := 0
	for _, g := range r.All() {
		if g.Case.Want.Kind != cases.WantNothing {
			expected++
		}
		if g.Differs == "" && (f.verbose || g.Case.Want.Kind == cases.WantNothing) {
			c.printLines(g.Lines())
		}
	}
	switch {
	case len(r.Failures()) > 0:
		c.printLines(r.Lines())
	case expected > 0:
		terminal.Print(c.stdout, terminal.Piece{Text: "ok", Style: terminal.Good}, terminal.Piece{Text: fmt.Sprintf(": %v", r)})
	}
}

// styles are how lines look in a terminal.
var styles = map[cases.LineKind]terminal.Style{cases.LineOK: terminal.Good, cases.LineNot: terminal.Bad, cases.LineDetail: terminal.Dim}

// printLines prints lines with their styles. What may be copied is whole, and has a style only if it is a detail.
func (c command) printLines(lines []cases.Line) {
	for _, l := range lines {
		text := strings.TrimSuffix(plain.Line(l.Text), plain.Line(l.Copy))
		toCopy := terminal.Piece{Text: plain.Line(l.Copy), Whole: true}
		if l.Kind == cases.LineDetail {
			toCopy.Style = terminal.Dim
		}
		terminal.Print(c.stdout, terminal.Piece{Text: text, Style: styles[l.Kind]}, toCopy)
	}
}

// pages returns what writes the page of the first block of a suite that is not as expected, or else of the first one.
func pages(ctx context.Context, file, name string) func(*ctexp.Lab, []cases.Got) error {
	if file == "" {
		return nil
	}
	line, failed := 0, false
	return func(lab *ctexp.Lab, got []cases.Got) error {
		var failures []ctexp.Failure
		for _, g := range (cases.Result{Blocks: [][]cases.Got{got}}).Failures() {
			failures = append(failures, ctexp.Failure{Place: fmt.Sprintf("%s:%d", name, g.Case.Line), Text: g.Differs + "\n" + g.String()})
		}
		fails, at := len(failures) > 0, got[0].Case.Line
		if line > 0 && (failed && !fails || failed == fails && at > line) {
			return nil
		}
		line, failed = at, fails
		var page bytes.Buffer
		if err := lab.WritePage(ctx, &page, "ctexp try "+name, failures...); err != nil {
			return fmt.Errorf("report: %w", err)
		}
		if err := os.WriteFile(file, page.Bytes(), 0o600); err != nil {
			return fmt.Errorf("report: %w", err)
		}
		return nil
	}
}

// differences prints what becomes of packets under the first n rules of cfg and becomes different under the others, those of -compare.
func (c command) differences(ctx context.Context, f tryFlags, s cases.Suite, cfg netnsenv.Config, n int) error {
	before := "no rules"
	if f.like != "" {
		before = "the rules of -like " + f.like
	}
	if names := append(f.rules, s.Rules...); len(names) > 0 {
		before = strings.Join(names, " and ")
	}
	name := f.compare
	if name == before {
		name = "-compare " + name
	}
	after := cfg
	cfg.Rules, after.Rules = cfg.Rules[:n], cfg.Rules[n:]
	done := patience.Doing(ctx, trying(s))
	defer done()
	r, err := s.Explain(ctx, cfg, nil)
	if err != nil {
		return err
	}
	changed, err := s.Explain(ctx, after, nil)
	if err != nil {
		return err
	}
	c.tellLinks(f, s, cfg)
	if lines := cases.Differences(before, r, name, changed); len(lines) > 0 {
		c.printLines(lines)
		return errNot
	}
	if vacuous := r.Reach.Vacuous(changed.Reach, before, name); vacuous != "" {
		return errors.New(vacuous)
	}
	fmt.Fprintf(c.stdout, "no differences (packets: %d)\n", len(s.Packets()))
	return nil
}
