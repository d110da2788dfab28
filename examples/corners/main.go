//go:build linux

// Corners asks the running kernel what it does at the edges of connection tracking, where versions differ, and prints one
// value for each question:
//
//	go run ./examples/corners
//	go run ./examples/corners -run 'rst|seq' -json
//
// The answers of several kernels become the table of docs/kernels.md, which has those of examples/tales, too:
//
//	go run ./examples/corners -table 5.10.json 6.1.json
//
// The exit status is 0 if every question has an answer, 2 if not.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/terminal"
)

func main() {
	if err := run(os.Args[1:], terminal.Output(os.Stdout)); err != nil {
		fmt.Fprintln(os.Stderr, "corners:", err)
		os.Exit(2)
	}
}

func run(args []string, out io.Writer) error {
	f := flag.NewFlagSet("corners", flag.ContinueOnError)
	lines := f.Bool("json", false, "print one object a line")
	table := f.Bool("table", false, "print the table of the kernels whose answers are in the given files")
	pattern := f.String("run", "", "ask only the questions whose id matches this `regexp`")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *table {
		return writeTable(terminal.Data(out), f.Args())
	}
	only, err := regexp.Compile(*pattern)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}

	netnsenv.Enter()
	unanswered := 0
	for _, c := range corners() {
		if !only.MatchString(c.ID) {
			continue
		}
		a := c.answer(context.Background())
		if a.Error != "" {
			unanswered++
		}
		if err := a.print(out, *lines); err != nil {
			return err
		}
	}
	if unanswered > 0 {
		return fmt.Errorf("%d questions without an answer", unanswered)
	}
	return nil
}

// answer is what the kernel does at a corner, and a line of JSON.
type answer struct {
	ID     string `json:"id"`
	Asks   string `json:"asks"`
	Source string `json:"source"`
	Kernel string `json:"kernel"`
	Value  string `json:"value"`
	// Error says what kept the question from an answer.
	Error string `json:"error,omitempty"`
}

func (c corner) answer(ctx context.Context) answer {
	a := answer{ID: c.ID, Asks: c.Asks, Source: c.Source, Kernel: kernel.Name()}
	value, err := c.ask(ctx)
	var lack *nf.UnsupportedError
	switch {
	case errors.As(err, &lack):
		a.Value = "lacks " + lack.Need
	case err != nil:
		a.Error = err.Error()
	default:
		a.Value = value
	}
	return a
}

func (a answer) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(terminal.Data(w)).Encode(a)
	}
	value := terminal.Piece{Text: a.Value}
	if a.Error != "" {
		value = terminal.Piece{Text: "no answer: " + a.Error, Style: terminal.Bad}
	}
	if err := terminal.Print(w, terminal.Piece{Text: fmt.Sprintf("%-16s ", a.ID)}, terminal.Piece{Text: a.Asks, Style: terminal.Dim}); err != nil {
		return err
	}
	return terminal.Print(w, terminal.Piece{Text: fmt.Sprintf("%-16s ", "")}, value)
}
