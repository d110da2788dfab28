//go:build linux

// Bench measures ctexp beside what people use for the same, in one run, and prints how many times better it is:
//
//	go run ./examples/bench
//	go run ./examples/bench -run 'dump|flush' -json
//
// Ours and the peer take turns, in an order that is drawn for each round, so that what else the machine does meets both. The
// ratio of each round is taken, and the table has its median and quartiles, once of the time that has passed and once of the
// CPU time of this process and the programs that it has executed. Above 1 ours is better. Some rows have no peer but a limit:
// then the ratio is limit / ours. Programs that are missing are named, and their rows left out.
//
// -growth writes a plot of the cost of operations over their size instead.
//
// -json prints one object a line. All rows together take at most the time of -for, five minutes. The exit status is 0 if all
// goals were met, 1 if one was missed, 2 if the flags are wrong or a row could not be measured.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

// The exit statuses.
const (
	statusMet    = 0
	statusMissed = 1
	statusFailed = 2
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	opts, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return statusMet
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return statusFailed
	}
	selected := opts.selected(rows())
	if len(selected) == 0 {
		fmt.Fprintf(stderr, "bench: no row matches -run %s; -list shows them all\n", opts.run)
		return statusFailed
	}
	if opts.list {
		for _, r := range selected {
			fmt.Fprintf(stdout, "%-20s %s\n", r.id, r.what)
		}
		return statusMet
	}
	netnsenv.EnterWith(netnsenv.Entry{})

	ctx, cancel := context.WithTimeout(context.Background(), opts.most)
	defer cancel()
	if opts.growth != "" {
		return plot(ctx, opts.growth, stdout, stderr)
	}
	out := newPrinter(opts.json, stdout, stderr)
	status := statusMet
	for i, r := range selected {
		budget := time.Until(deadline(ctx)) / time.Duration(len(selected)-i)
		out.progress(i+1, len(selected), r.id)
		res := measure(ctx, r, budget)
		out.print(res)
		status = max(status, res.status())
	}
	out.end()
	return status
}

// plot measures the growth of operations, prints it, and draws it into a file.
func plot(ctx context.Context, file string, stdout, stderr io.Writer) int {
	curves, err := grow(ctx, func(name string, size int) { fmt.Fprintf(stderr, "\r\x1b[K%s %d ", name, size) })
	fmt.Fprint(stderr, "\r\x1b[K")
	var svg bytes.Buffer
	if err == nil {
		err = errors.Join(writePlot(&svg, curves), os.WriteFile(file, svg.Bytes(), 0o644))
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return statusFailed
	}
	fmt.Fprintf(stdout, "%-20s %9v ms\n", "", sizes)
	for _, c := range curves {
		fmt.Fprintf(stdout, "%-20s", c.name)
		for _, ms := range c.cost {
			fmt.Fprintf(stdout, " %9s", digits(ms))
		}
		fmt.Fprintln(stdout)
	}
	return statusMet
}

func deadline(ctx context.Context) time.Time {
	at, _ := ctx.Deadline()
	return at
}

// options are what the command line says.
type options struct {
	run        *regexp.Regexp
	json, list bool
	growth     string // file for the plot; empty: none
	most       time.Duration
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.BoolVar(&o.json, "json", false, "print one object a line, a row each")
	f.BoolVar(&o.list, "list", false, "print the rows and measure nothing")
	f.StringVar(&o.growth, "growth", "", "write a plot of the cost of operations over their size into this `file`, an SVG")
	f.DurationVar(&o.most, "for", 5*time.Minute, "measure no longer than `duration`")
	pattern := f.String("run", "", "measure only the rows whose id matches this `regexp`")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("%q: want flags only", f.Args())
	}
	if o.most <= 0 {
		return o, fmt.Errorf("-for %v: want a time", o.most)
	}
	if o.run, err = regexp.Compile(*pattern); err != nil {
		return o, fmt.Errorf("-run: %w", err)
	}
	return o, nil
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
