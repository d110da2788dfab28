// Ctexp tries packets against rules in a network namespace of its own, with the machine's own kernel and without root.
//
//	ctexp try -rules my.nft 'tcp 198.18.0.2:10000 > 192.0.2.1:80 S'
//	ctexp try -cases firewall.cases
//	ctexp doctor
//
// The exit status is 0 if everything is as expected, 1 if it is not, and 2 if the question could not be asked, or if its answer proves
// nothing: with -compare, if no packet got to where the rules differ.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"

	"github.com/ctexp/go-ctexp/ctexp/cases"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/patience"
	"github.com/ctexp/go-ctexp/internal/plain"
	"github.com/ctexp/go-ctexp/internal/terminal"
)

// The exit statuses.
const (
	exitOK      = 0
	exitNot     = 1 // something is not as expected
	exitNoReply = 2 // the question could not be asked, or its answer proves nothing
)

const usage = `usage:
  ctexp try [flags] 'packet' …   what becomes of packets under rules
  ctexp try -cases FILE          a test suite: packets and what is expected
  ctexp try -h                   all flags
  ctexp doctor                   what this machine can and what it lacks
`

// command is what the program is asked for.
type command struct {
	args           []string
	stdin          io.Reader
	stdout, stderr io.Writer
	tty            bool // stdin is a terminal
}

func main() {
	netnsenv.EnterWith(netnsenv.Entry{HostNetwork: slices.Contains(os.Args, hostLinks), Like: likePaths(os.Args)})
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	info, err := os.Stdin.Stat()
	c := command{args: os.Args[1:], stdin: os.Stdin, stdout: terminal.Output(os.Stdout), stderr: terminal.Output(os.Stderr), tty: err != nil || info.Mode()&os.ModeCharDevice != 0}
	os.Exit(c.run(ctx))
}

// run executes the command and returns the exit status.
func (c command) run(ctx context.Context) int {
	var told sync.Map // each block of a suite may have the same to tell
	ctx = patience.Telling(ctx, func(text string) {
		if _, again := told.LoadOrStore(text, true); !again {
			terminal.Print(c.stderr, terminal.Piece{Text: "ctexp: " + text, Style: terminal.Dim})
		}
	})
	if len(c.args) == 0 {
		fmt.Fprint(c.stderr, usage)
		return exitNoReply
	}
	switch name := c.args[0]; name {
	case "try":
		return c.status(c.try(ctx, c.args[1:]))
	case "doctor":
		return c.status(c.doctor(ctx, c.args[1:]))
	case "help", "-h", "-help", "--help":
		fmt.Fprint(c.stdout, usage)
		return exitOK
	default:
		fmt.Fprintf(c.stderr, "ctexp: there is no command %q: want try or doctor\n%s", plain.Line(name), usage)
		return exitNoReply
	}
}

// errNot is the error of a question whose answer is not as expected; the answer has been printed.
var errNot = errors.New("not as expected")

// errHelp is the error of a question for help, which has been answered.
var errHelp = errors.New("help")

// status prints err and returns the exit status for it.
func (c command) status(err error) int {
	switch {
	case err == nil, errors.Is(err, errHelp):
		return exitOK
	case errors.Is(err, errNot):
		return exitNot
	}
	var file *cases.FileError
	if errors.As(err, &file) { // where it was met adds nothing to the place in the file
		err = file
	}
	prefix := "ctexp: "
	for _, line := range strings.Split(plain.Text(err.Error()), "\n") {
		terminal.Print(c.stderr, terminal.Piece{Text: prefix, Style: terminal.Bad}, terminal.Piece{Text: line})
		prefix = ""
	}
	if isAboutLinks(err) {
		fmt.Fprintln(c.stderr, "ctexp: -links gives the host more links, -missing-links allows rules that name others")
	}
	return exitNoReply
}

// isAboutLinks reports whether rules name a link that is not there.
func isAboutLinks(err error) bool {
	var rules *nf.RulesError
	return errors.As(err, &rules) && slices.ContainsFunc(rules.Problems, func(p nf.RuleProblem) bool { return p.Link != "" })
}
