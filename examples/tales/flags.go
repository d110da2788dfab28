package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

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
