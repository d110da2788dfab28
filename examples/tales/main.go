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
	"fmt"
	"io"
	"os"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
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
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	if status, ok := playRole(ctx, opts, stdout); ok {
		return status
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
