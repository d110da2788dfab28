// Command ctexp-env runs a program as root of a network namespace of its own, with a link, localhost and connection tracking, as
// an ordinary user. Somebody's integration tests run in it as they are, each package in another namespace:
//
//	go install github.com/ctexp/go-ctexp/cmd/ctexp-env@latest
//	go test -exec ctexp-env ./...
//
// If the program fails, what happened in the namespace is printed to standard error: where packets went, the connection tracking
// table, rules and captured frames.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/cases"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

// couldNot is the exit status if the program could not be run.
const couldNot = 125

func main() {
	o, args, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	status := couldNot
	if err == nil {
		netnsenv.Enter()
		status, err = run(o, args)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ctexp-env:", strings.TrimPrefix(err.Error(), "netnsenv: "))
		status = couldNot
	}
	os.Exit(status)
}

// options are those of the command line.
type options struct {
	cfg   netnsenv.Config
	quiet bool
}

func parse(args []string) (o options, program []string, err error) {
	set := flag.NewFlagSet("ctexp-env", flag.ContinueOnError)
	links := set.String("links", "", "such as 'eth0 192.0.2.1/24 default; eth1 10.0.0.1/24'; default: tun0 with 192.0.2.1/24 and the default route")
	rules := set.String("rules", "", "file with rules that are loaded before, of nft or of iptables-save")
	forward := set.Bool("forward", false, "forward packets")
	bare := set.Bool("bare", false, "no probes in nftables and no capture, for programs that look at all tables: the report has less")
	set.BoolVar(&o.quiet, "q", false, "no report if the program fails")
	set.Usage = func() {
		fmt.Fprintln(set.Output(), "usage: ctexp-env [flags] program [arguments]; as go test -exec ctexp-env ./...")
		set.PrintDefaults()
	}
	if err := set.Parse(args); err != nil {
		return o, nil, err
	}
	if set.NArg() == 0 {
		set.Usage()
		return o, nil, errors.New("no program to run")
	}
	if *links != "" {
		if o.cfg.Links, err = cases.ParseLinks(*links); err != nil {
			return o, nil, fmt.Errorf("-%w", err)
		}
	}
	if *forward {
		o.cfg.Sysctls = map[string]string{"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"}
	}
	if *rules != "" {
		text, err := os.ReadFile(*rules)
		if err != nil {
			return o, nil, fmt.Errorf("-rules: %w", err)
		}
		r, err := cases.Rules(*rules, string(text))
		if err != nil {
			return o, nil, fmt.Errorf("-rules: %w", err)
		}
		o.cfg.Rules = []netnsenv.Ruleset{r}
	}
	o.cfg.NoPath, o.cfg.NoFrames, o.cfg.NoReasons = *bare, *bare, *bare
	return o, set.Args(), nil
}

// run runs a program in an Env and returns its exit status.
func run(o options, args []string) (status int, err error) {
	ctx := context.Background()
	lab, err := ctexp.Open(ctx, o.cfg)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, lab.Close()) }()

	cmd := lab.Env.Command(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP) // QUIT: go test's, for the stacks
	defer signal.Stop(signals)
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s)
		}
	}()

	err = cmd.Wait()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		return 0, err
	}
	status = statusOf(cmd.ProcessState)
	if status != 0 && !o.quiet {
		fmt.Fprintf(os.Stderr, "ctexp-env: %s has failed; %s\n", cmd, lab.Report(ctx))
	}
	return status, nil
}

// statusOf returns the exit status of a program as a shell does: 128 and the signal if one has ended it.
func statusOf(p *os.ProcessState) int {
	if ws, ok := p.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return p.ExitCode()
}
