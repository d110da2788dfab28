// Mutate tells how many mutants of a sample the tests of their packages notice, and prints those that survive:
//
//	go run ./internal/mutate/cmd/mutate -n 40 -seed 7 ./ctexp/packet ./ctexp/nf
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/ctexp/go-ctexp/internal/mutate"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("mutate", flag.ContinueOnError)
	n := flags.Int("n", 40, "how many mutants are drawn")
	seed := flags.Uint64("seed", 1, "which ones are drawn")
	only := flags.String("only", "", "numbers of the sample that are tried, as in 7,20-40; all if empty")
	least := flags.Int("min", 0, "percent that must be killed")
	verbose := flags.Bool("v", false, "print the killed ones, too")
	list := flags.Bool("list", false, "print the sample, and execute nothing")
	with := flags.String("with", "", "packages whose tests are executed, too, if a package's own notice nothing, separated by commas")
	wrapper := flags.String("exec", "", "execute the test binaries with this program")
	if err := flags.Parse(args); err != nil {
		return err
	}
	tried, err := numbers(*only, *n)
	if err != nil {
		return err
	}
	pkgs, err := mutate.Load(ctx, ".", flags.Args()...)
	if err != nil {
		return err
	}
	var sample []mutate.Mutant
	for _, m := range mutate.Sample(pkgs, *n, *seed) {
		if tried[m.ID] {
			sample = append(sample, m)
		}
	}
	if *list {
		for _, m := range sample {
			fmt.Fprintln(out, m)
		}
		return nil
	}
	var results []mutate.Result
	r := mutate.Runner{Exec: strings.Fields(*wrapper), Log: os.Stderr}
	if *with != "" {
		if r.With, err = mutate.Load(ctx, ".", strings.Split(*with, ",")...); err != nil {
			return err
		}
	}
	err = r.Run(ctx, sample, func(res mutate.Result) {
		results = append(results, res)
		if !res.Killed() || *verbose {
			fmt.Fprintf(out, "%-9s %5.1f s %s  %s\n", res.Outcome, res.Took.Seconds(), res.Mutant, res.By)
		}
	})
	if err != nil {
		return err
	}
	killed := mutate.Killed(results)
	fmt.Fprintf(out, "seed %d: %d of %d mutants killed\n", *seed, killed, len(results))
	if 100*killed < *least*len(results) {
		return fmt.Errorf("fewer than %d %% were killed", *least)
	}
	return nil
}

// numbers parses a list of numbers from 1 to n and of ranges.
func numbers(list string, n int) (map[int]bool, error) {
	if list == "" {
		list = fmt.Sprintf("1-%d", n)
	}
	out := map[int]bool{}
	for part := range strings.SplitSeq(list, ",") {
		from, to, ok := strings.Cut(part, "-")
		if !ok {
			to = from
		}
		a, err := strconv.Atoi(from)
		if err != nil {
			return nil, fmt.Errorf("numbers of mutants: %w", err)
		}
		b, err := strconv.Atoi(to)
		if err != nil {
			return nil, fmt.Errorf("numbers of mutants: %w", err)
		}
		for i := a; i <= min(b, n); i++ {
			out[i] = true
		}
	}
	return out, nil
}
