package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// printer prints results as they come: a table for people, or one object a line.
type printer struct {
	opts   options
	out    io.Writer
	total  int
	status *statusLine // nil: nobody looks
	first  bool
}

func newPrinter(opts options, total int, stdout, stderr io.Writer) *printer {
	p := &printer{opts: opts, out: stdout, total: total, first: true}
	if isTerminal(stderr) {
		p.status = &statusLine{w: stderr}
	}
	return p
}

// isTerminal reports whether w is a device that somebody may look at.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

// progress shows what is being asked.
func (p *printer) progress(asking []string, done int) {
	p.status.show(fmt.Sprintf("[%d/%d] %s", done, p.total, strings.Join(asking, ", ")))
}

func (p *printer) print(r result) {
	p.status.show("")
	if p.opts.json {
		encoder := json.NewEncoder(p.out)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(r); err != nil {
			panic("tales: " + err.Error()) // results are plain values
		}
		return
	}
	if p.first {
		fmt.Fprintf(p.out, "Conntrack tales, asked on Linux %s: rules by %s, %d packets, %d entries free in a full table\n",
			r.Kernel, r.Backend, p.opts.size.packets, p.opts.size.free)
		p.first = false
	}
	fmt.Fprintf(p.out, "\n%s", human(r))
}

// summary ends the table.
func (p *printer) summary(results []result, took time.Duration) {
	p.status.show("")
	if !p.opts.json {
		fmt.Fprintf(p.out, "\n%s in %.1f s\n", sum(results), took.Seconds())
	}
}

// sum counts the verdicts: "28 claims: 19 confirmed, 2 changed, 0 refuted".
func sum(results []result) string {
	count := map[verdict]int{}
	failed := 0
	for _, r := range results {
		if r.Error != "" {
			failed++
		}
		count[r.Verdict]++
	}
	var parts []string
	for _, v := range verdicts {
		if count[v] > 0 || v == refuted {
			parts = append(parts, fmt.Sprintf("%d %s", count[v], v))
		}
	}
	if failed > 0 {
		parts = append(parts, fmt.Sprintf("%d without an answer", failed))
	}
	claims := "claims"
	if len(results) == 1 {
		claims = "claim"
	}
	return fmt.Sprintf("%d %s: %s", len(results), claims, strings.Join(parts, ", "))
}
