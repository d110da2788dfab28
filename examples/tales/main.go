// Tales puts every claim of "Conntrack tales - one thousand and one flows" (Marek Majkowski, Cloudflare, 2020) to the
// kernel that runs it, and prints a verdict for each: what the article claims, what its author saw, what this kernel
// did.
//
//	go run ./examples/tales
//	go run ./examples/tales -html tales.html
//	go run ./examples/tales -json -run '^table-full$' -packets 23 -free 11
//
// The page of -html also draws where the packets of each claim went, hook by hook, with what was lost and why; for that
// the experiments have probes on the path. No privilege is needed; a few rows know more when started by root. The verdicts:
//
//	confirmed    this kernel does what the article says
//	changed      it did then and does something else since
//	refined      right as far as it goes; what has to be added stands in the row
//	refuted      this kernel does something that nobody expected
//	unsupported  it cannot be asked here: what is needed, and what to do about it
//
// The exit status is 0 if something was asked and nothing refuted, 1 if a claim was refuted, 2 if nothing could be asked,
// the flags are wrong, or a fault of ours kept a row from an answer.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/internal/patience"
	"github.com/ctexp/go-ctexp/internal/terminal"
)

// The exit statuses.
const (
	statusFine    = 0
	statusRefuted = 1
	statusFailed  = 2
)

// longest bounds everything together; the usual is some seconds.
const longest = 10 * time.Minute

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	opts, status, ok := parse(args, stdout, stderr)
	if !ok {
		return status
	}
	ctx, cancel := patience.WithTimeout(context.Background(), longest, context.DeadlineExceeded)
	defer cancel()
	if status, ok := playRole(ctx, opts, stdout); ok {
		return status
	}
	if f, ok := stdout.(*os.File); ok {
		stdout = terminal.Output(f)
	}
	selected := opts.selected(rows())
	if opts.list {
		list(stdout, selected, opts.size)
		return statusFine
	}
	if len(selected) == 0 {
		fmt.Fprintf(stderr, "tales: no claim matches -run %s; -list shows them all\n", opts.run)
		return statusFailed
	}

	before := prepareOutside(selected)
	netnsenv.EnterWith(netnsenv.Entry{Files: before.files()})

	results := make([]result, 0, len(selected))
	out := newPrinter(opts, len(selected), stdout, stderr)
	began := time.Now()
	for r := range answers(ctx, opts, selected, before, out.progress) {
		out.print(r)
		results = append(results, r)
	}
	out.summary(results, time.Since(began))
	if opts.html != "" {
		if err := writeHTML(opts.html, opts, results); err != nil {
			fmt.Fprintf(stderr, "tales: %v\n", err)
			return statusFailed
		}
	}
	return exitStatus(results)
}

// exitStatus is the exit status of a run that has come to its end.
func exitStatus(results []result) int {
	asked, failed := false, false
	for _, r := range results {
		switch {
		case r.Verdict == refuted:
			return statusRefuted
		case r.Error != "":
			failed = true
		case r.Verdict != unsupported:
			asked = true
		}
	}
	if failed || !asked {
		return statusFailed
	}
	return statusFine
}

// list prints the claims that can be asked.
func list(w io.Writer, rows []row, n size) {
	for _, r := range rows {
		fmt.Fprintf(w, "%-*s %s\n", idWidth, r.id, n.fill(r.claim))
	}
}

// options are what the command line says.
type options struct {
	size    size
	backend backend
	run     *regexp.Regexp
	json    bool
	list    bool
	html    string // file for the page; empty: none
}

// size is how large the experiments are.
type size struct {
	packets int // N, how many packets are sent
	free    int // M, how many entries a full table has left for them
}

// mostPackets is what the source ports from 10000 on, and some to spare, are enough for.
const mostPackets = 50_000

func (n size) check() error {
	switch {
	case n.packets > mostPackets:
		return fmt.Errorf("-packets %d: want at most %d, one source port for each", n.packets, mostPackets)
	case n.free < 1:
		return fmt.Errorf("-free %d: want at least 1", n.free)
	case n.packets <= n.free:
		return fmt.Errorf("-packets %d -free %d: want more packets than fit", n.packets, n.free)
	}
	return nil
}

// fill puts the numbers into a text that has {N}, {M} or {N-M} in their place.
func (n size) fill(text string) string {
	return strings.NewReplacer(
		"{N}", strconv.Itoa(n.packets), "{M}", strconv.Itoa(n.free), "{N-M}", strconv.Itoa(n.packets-n.free),
	).Replace(text)
}

// parse reads the command line. If ok is false the program ends with the status.
func parse(args []string, stdout, stderr io.Writer) (o options, status int, ok bool) {
	f := flag.NewFlagSet("tales", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.BoolVar(&o.json, "json", false, "print one object a line, a row each")
	f.BoolVar(&o.list, "list", false, "print the claims and ask nothing")
	f.StringVar(&o.html, "html", "", "also write all claims as a page into this `file`")
	pattern := f.String("run", "", "ask only the claims whose id matches this `regexp`")
	f.IntVar(&o.size.packets, "packets", 10, "send `N` packets in each experiment")
	f.IntVar(&o.size.free, "free", 7, "leave `M` entries of a full table free")
	name := f.String("backend", string(nftables), "who sets the rules: nft, iptables-nft or iptables-legacy")
	f.Usage = func() {
		fmt.Fprintf(f.Output(), "tales puts the claims of an article about conntrack to the running kernel.\n\n")
		f.PrintDefaults()
	}
	err := f.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return o, statusFine, false
	}
	if err != nil {
		return o, statusFailed, false // the flag set has said why
	}
	if err := o.complete(f.Args(), *pattern, *name); err != nil {
		fmt.Fprintf(stderr, "tales: %v\n", err)
		return o, statusFailed, false
	}
	return o, 0, true
}

// complete checks what package flag does not.
func (o *options) complete(rest []string, pattern, name string) (err error) {
	if len(rest) > 0 {
		return fmt.Errorf("%q: want flags only", rest[0])
	}
	if o.run, err = regexp.Compile(pattern); err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	if o.backend, err = parseBackend(name); err != nil {
		return err
	}
	return o.size.check()
}

// selected returns the rows that -run means, in their order.
func (o options) selected(all []row) []row {
	var out []row
	for _, r := range all {
		if o.run.MatchString(r.id) {
			out = append(out, r)
		}
	}
	return out
}

// statusLine is a line on a terminal that is written again and again. A nil statusLine shows nothing.
type statusLine struct {
	mu    sync.Mutex
	w     io.Writer
	shown bool
}

// show writes text over what is there; "" takes it away.
func (s *statusLine) show(text string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if text == "" && !s.shown {
		return
	}
	const most = 79 // a line that wraps could not be written over
	if r := []rune(text); len(r) > most {
		text = string(r[:most-1]) + "…"
	}
	fmt.Fprintf(s.w, "\r\x1b[K%s", text)
	s.shown = text != ""
}
