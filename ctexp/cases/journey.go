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
func (g Got) String() string { return textOf(g.Lines()) }

// Line is a line of what is told of packets, and what of it matters.
type Line struct {
	Text string   // with its indentation
	Kind LineKind // zero: nothing of it matters
	// Copy is the end of Text that may be pasted as it is, and should not be wrapped: a packet or an entry; "" if there is none.
	Copy string
}

// LineKind says what a line tells.
type LineKind uint8

// The kinds of lines.
const (
	LinePlain  LineKind = iota // a packet, a rule, or an end of which nothing was expected
	LineOK                     // something is as expected
	LineNot                    // something is not as expected
	LineDetail                 // the hooks, the class and the entry
)

// String returns the text.
func (l Line) String() string { return l.Text }

// indented returns lines that are indented further.
func indented(by string, lines []Line) []Line {
	for i := range lines {
		lines[i].Text = by + lines[i].Text
	}
	return lines
}

// textOf returns lines as a text, which ends without a line feed.
func textOf(lines []Line) string {
	var texts []string
	for _, l := range lines {
		texts = append(texts, l.Text)
	}
	return strings.Join(texts, "\n")
}

// Lines returns the lines of String.
func (g Got) Lines() []Line {
	kind := LinePlain
	if g.Differs != "" {
		kind = LineNot
	} else if g.Case.Want.Kind != WantNothing {
		kind = LineOK
	}
	return append([]Line{{Text: g.Case.Text, Copy: g.Case.Text}}, indented("  ", journey(g.Outcome, kind))...)
}

// journey returns the lines of a packet's way, whose end is of a kind.
func journey(o ctexp.Outcome, end LineKind) []Line {
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
	var lines []Line
	add := func(kind LineKind, text, toCopy string) {
		lines = append(lines, Line{Text: plain.Line(text + toCopy), Kind: kind, Copy: plain.Line(toCopy)})
	}
	add(LineDetail, way, "")
	for _, r := range o.Fate.Reasons {
		add(LinePlain, "conntrack: "+r.Text, "")
	}
	for _, s := range o.Fate.Steps {
		if s.Kind != observe.StepReturn && (s.Kind != observe.StepPolicy || s.Dropped()) {
			add(LinePlain, step(s), "")
		}
	}
	text, packet := ending(o)
	add(end, o.Verdict().String()+": "+text, packet)
	left := o.Left()
	for _, s := range left[min(1, len(left)):] {
		add(LinePlain, fmt.Sprintf("and on %s: ", s.Link), s.Packet.String())
	}
	if len(left) == 0 || left[0].Passed {
		for _, s := range o.Out {
			if !s.Passed {
				add(LinePlain, fmt.Sprintf("the host sends on %s: ", s.Link), s.Packet.String())
			}
		}
	}
	if o.Entry != "" {
		add(LineDetail, "entry ", o.Entry)
	} else {
		add(LineDetail, "no entry", "")
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

// ending returns where a packet left or ended, and why; and as what it left.
func ending(o ctexp.Outcome) (text, packet string) {
	if o.Verdict() != ctexp.VerdictAccept {
		why := ""
		for _, s := range o.Fate.Steps {
			if s.Dropped() {
				why = s.Cause().String()
			}
		}
		if why == "" && o.Gone {
			why = gone(o)
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
		return why, ""
	}
	if left := o.Left(); len(left) > 0 {
		return fmt.Sprintf("leaves on %s: ", left[0].Link), left[0].Packet.String()
	}
	if slices.Contains(o.Hooks, nf.Forward) || slices.Contains(o.Hooks, nf.Postrouting) && !slices.Contains(o.Hooks, nf.Input) {
		return gone(o), ""
	}
	return "delivered to the host", ""
}

// gone says where a packet was seen last that has left on no link.
func gone(o ctexp.Outcome) string {
	if len(o.Hooks) == 0 {
		return "it met no hook, and left on no link"
	}
	return "it went on behind the last hook, and left on no link"
}

// failure returns what failed in the form of a test's log: "file:line: want drop, got accept", and the way of the packet.
func (r Result) failure(g Got) []Line {
	head := Line{Text: fmt.Sprintf("%s:%d: %s", r.Suite, g.Case.Line, g.Differs), Kind: LineNot}
	return append([]Line{head}, indented("    ", g.Lines())...)
}

// String lists the failures with the ways of their packets, and ends in a summary. Without failures it is the summary.
func (r Result) String() string { return textOf(r.Lines()) }

// Lines returns the lines of String.
func (r Result) Lines() (lines []Line) {
	failures := r.Failures()
	for _, g := range failures {
		lines = append(lines, r.failure(g)...)
	}
	sum := Line{Text: fmt.Sprintf("%s: %s in %s", r.Suite, counted(len(r.All()), "case"), counted(len(r.Blocks), "block")), Kind: LineOK}
	if len(failures) > 0 {
		sum.Text, sum.Kind = fmt.Sprintf("%s, %d failed", sum.Text, len(failures)), LineNot
	}
	return append(lines, sum)
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Compare describes the cases of a suite of which something else has become under other rules: a and b are what Explain returned
// under each, and the names those of the rules. Without a difference it says so if none could have shown, because no packet got to
// where the rules differ (ctexp.Reach.Vacuous); if that is meant, set Result.Reach to zero. Else it returns "".
func Compare(nameA string, a Result, nameB string, b Result) string {
	lines := Differences(nameA, a, nameB, b)
	if vacuous := a.Reach.Vacuous(b.Reach, nameA, nameB); len(lines) == 0 && vacuous != "" {
		lines = []Line{{Text: vacuous}}
	}
	if len(lines) == 0 {
		return ""
	}
	return textOf(lines) + "\n"
}

// Differences returns the lines of Compare for the cases that differ.
func Differences(nameA string, a Result, nameB string, b Result) (lines []Line) {
	others := b.All()
	for i, g := range a.All() {
		if g.Outcome.Same(others[i].Outcome) {
			continue
		}
		lines = append(lines, Line{Text: fmt.Sprintf("%s:%d: %s", a.Suite, g.Case.Line, g.Case.Text), Copy: g.Case.Text})
		for _, side := range []struct {
			name string
			o    ctexp.Outcome
		}{{nameA, g.Outcome}, {nameB, others[i].Outcome}} {
			lines = append(lines, Line{Text: "  " + side.name + ":"})
			lines = append(lines, indented("    ", journey(side.o, LinePlain))...)
		}
	}
	return lines
}
