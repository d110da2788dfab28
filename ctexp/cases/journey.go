package cases

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/internal/plain"
)

// String describes the way of a packet: where it came in, the rules that it met, its class and entry, and where it left or ended:
//
//	tcp 198.18.0.2:10000 > 192.0.2.1:80 S
//	  comes in on wan: prerouting, forward, postrouting; NEW
//	  ip nat prerouting: iifname "wan" tcp dport 80 dnat to 10.0.1.80 -> accept
//	  accept: leaves on dmz: IP 198.18.0.2.10000 > 10.0.1.80.80: Flags [S], seq 1, win 65535, length 0
//	  entry tcp SYN_SENT src=198.18.0.2 …
func (g Got) String() string { return g.Case.Text + "\n" + indented(journey(g.Outcome)) }

// journey returns the lines of a packet's way.
func journey(o ctexp.Outcome) []string {
	var hooks []string
	for _, h := range o.Hooks {
		hooks = append(hooks, h.String())
	}
	way := "is sent by the host"
	if !o.FromHost {
		way = "comes in"
		if o.Fate.Frame.Link != "" {
			way += " on " + o.Fate.Frame.Link
		}
	}
	if way += ": " + strings.Join(hooks, ", "); len(hooks) == 0 {
		way += "it meets no hook"
	}
	if class := o.Fate.Frame.Class; class != nf.ClassUnknown {
		way += "; " + class.String()
	}
	lines := []string{way}
	for _, r := range o.Fate.Reasons {
		lines = append(lines, "conntrack: "+r.Text)
	}
	for _, s := range o.Fate.Steps {
		if s.Kind != observe.StepReturn && (s.Kind != observe.StepPolicy || s.Dropped()) {
			lines = append(lines, step(s))
		}
	}
	lines = append(lines, o.Verdict().String()+": "+ending(o))
	left := o.Left()
	for _, s := range left[min(1, len(left)):] {
		lines = append(lines, fmt.Sprintf("and on %s: %v", s.Link, s.Packet))
	}
	if len(left) == 0 || left[0].Passed {
		for _, s := range o.Out {
			if !s.Passed {
				lines = append(lines, fmt.Sprintf("the host sends on %s: %v", s.Link, s.Packet))
			}
		}
	}
	if o.Entry != "" {
		lines = append(lines, "entry "+o.Entry)
	} else {
		lines = append(lines, "no entry")
	}
	for i, l := range lines {
		lines[i] = plain.Line(l)
	}
	return lines
}

// step returns a rule that a packet met.
func step(s observe.Step) string {
	at := fmt.Sprintf("%s %s %s: ", s.Family, s.Table, s.Chain)
	switch {
	case s.Kind == observe.StepPolicy:
		return at + "policy " + s.Verdict
	case s.Rule == "":
		return fmt.Sprintf("%srule with handle %d -> %s", at, s.Handle, s.Verdict)
	}
	return at + s.Rule + " -> " + s.Verdict
}

// ending returns where a packet left or ended, and why.
func ending(o ctexp.Outcome) string {
	if o.Verdict() != ctexp.VerdictAccept {
		why := ""
		for _, s := range o.Fate.Steps {
			if s.Dropped() {
				why = s.Cause().String()
			}
		}
		for _, l := range o.Losses {
			if why != "" {
				break
			}
			why = fmt.Sprintf("between %s: %s", l.Between(), l.Why())
		}
		if o.Verdict() == ctexp.VerdictReject && o.Silenced > 0 {
			why += "; the host has answered"
		}
		return why
	}
	if left := o.Left(); len(left) > 0 {
		return fmt.Sprintf("leaves on %s: %v", left[0].Link, left[0].Packet)
	}
	if slices.Contains(o.Hooks, nf.Forward) || slices.Contains(o.Hooks, nf.Postrouting) && !slices.Contains(o.Hooks, nf.Input) {
		return "it went on behind the last hook, and left on no link"
	}
	return "delivered to the host"
}

func indented(lines []string) string { return "  " + strings.Join(lines, "\n  ") }

// Failure returns what failed in the form of a test's log: "file:line: want drop, got accept", and the way of the packet.
func (r Result) failure(g Got) string {
	return fmt.Sprintf("%s:%d: %s\n    %s", r.Suite, g.Case.Line, g.Differs, strings.ReplaceAll(g.String(), "\n", "\n    "))
}

// String lists the failures with the ways of their packets, and ends in a summary. Without failures it is the summary.
func (r Result) String() string {
	var b strings.Builder
	failures := r.Failures()
	for _, g := range failures {
		b.WriteString(r.failure(g) + "\n")
	}
	n := len(r.All())
	fmt.Fprintf(&b, "%s: %s in %s", r.Suite, counted(n, "case"), counted(len(r.Blocks), "block"))
	if len(failures) > 0 {
		fmt.Fprintf(&b, ", %d failed", len(failures))
	}
	return b.String()
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Compare describes the cases of a suite of which something else has become under other rules: a and b are what Explain returned
// under each, and the names those of the rules. It returns "" if there is no difference.
func Compare(nameA string, a Result, nameB string, b Result) string {
	var out strings.Builder
	others := b.All()
	for i, g := range a.All() {
		if g.Outcome.Same(others[i].Outcome) {
			continue
		}
		fmt.Fprintf(&out, "%s:%d: %s\n", a.Suite, g.Case.Line, g.Case.Text)
		for _, side := range []struct {
			name string
			o    ctexp.Outcome
		}{{nameA, g.Outcome}, {nameB, others[i].Outcome}} {
			fmt.Fprintf(&out, "  %s:\n    %s\n", side.name, strings.Join(journey(side.o), "\n    "))
		}
	}
	return out.String()
}
