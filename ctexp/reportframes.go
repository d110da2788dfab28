package ctexp

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/internal/report"
)

// frames puts beside each frame what conntrack made of its packet, as far as events, reasons, rules and the table tell.
func (c *collector) frames() {
	r := c.record
	for _, err := range r.Missing {
		part, _, _ := strings.Cut(err.Error(), ":")
		if part == "trace" && errors.Is(err, errors.ErrUnsupported) {
			continue // tracing is asked for by Config.Trace: to do without is no lack
		}
		c.missing(part, err)
	}
	timeline := r.Timeline()
	c.moments(timeline)

	states := map[int]string{}
	for _, m := range timeline.Of(observe.KindEvent) {
		if states[m.Frame] == "" {
			states[m.Frame] = shortEvent(m.Text)
		}
	}
	ofReasons, _ := observe.ReasonsOf(r.Frames, r.Reasons)
	ofUnexplained, _ := observe.ReasonsOf(r.Frames, r.Unexplained)
	ofSteps, _ := observe.StepsOf(r.Frames, r.Steps)
	ofDrops, _ := observe.DropsOf(r.Frames, r.Drops)
	for i, f := range r.Frames {
		_, line, _ := strings.Cut(f.String(), f.Dir.String())
		out := report.Frame{
			At: f.Time.Sub(c.d.Time), Link: f.Link, Dir: strings.ToLower(f.Dir.String()),
			Line: strings.TrimSpace(line), State: states[i+1],
		}
		var why []string
		for _, r := range slices.Concat(ofReasons[i], ofUnexplained[i]) {
			why = append(why, r.Text)
			if !r.Passed() {
				out.State = stateInvalid
			}
		}
		for _, s := range ofSteps[i] {
			out.Steps = append(out.Steps, s.String())
			if s.Verdict == "drop" {
				out.Verdict = report.Dropped
				c.nowBlamed(i)
				why = append(why, fmt.Sprintf("dropped by %s %s %s: %s", s.Family, s.Table, s.Chain, s.Rule))
			}
		}
		for _, drop := range ofDrops[i] {
			out.Verdict = report.Dropped
			if drop.Reason != byNetfilter {
				c.nowBlamed(i)
				why = append(why, strings.TrimSuffix(drop.Reason+" in "+drop.Function, " in "))
			}
		}
		out.Reason = strings.Join(why, "; ")
		if out.State == "" && f.Dir == observe.In {
			out.State = c.stateOf(f)
		}
		c.d.Frames = append(c.d.Frames, out)
	}
	c.blameFullTable()
	c.blameLosses()
	for i, f := range c.d.Frames {
		if f.Verdict == report.Dropped && f.Reason == "" && i < len(ofDrops) && len(ofDrops[i]) > 0 {
			c.d.Frames[i].Reason = "dropped by a rule (" + byNetfilter + ")"
		}
	}
	if n := len(c.d.Frames) - mostFrames; n > 0 {
		c.d.Frames, c.d.Omitted.Frames = c.d.Frames[:mostFrames], n
	}
}

// shortEvent cuts an event's line before the tuple: "NEW tcp SYN_SENT src=…" to "NEW SYN_SENT".
func shortEvent(line string) string {
	words := strings.Fields(line)
	out := words[:min(1, len(words))]
	for _, w := range words[len(out):] {
		if strings.HasPrefix(w, "src=") {
			break
		}
		if strings.ToUpper(w) == w {
			out = append(out, w)
		}
	}
	return strings.Join(out, " ")
}

// stateOf tells the state of a packet that has changed nothing: that of its entry, if there is one.
func (c *collector) stateOf(f observe.Frame) string {
	t := f.Tuple()
	if t == (nf.Tuple{}) {
		return ""
	}
	e, known := c.byTuple()[t]
	switch {
	case !known:
		return noEntry
	case e.Orig == (nf.Tuple{}): // it is gone
		return ""
	case t.Proto == nf.TCP:
		return e.State.String()
	}
	return "of a known flow"
}

// byTuple returns the entries by both of their tuples, those that have left as zero entries.
func (c *collector) byTuple() map[nf.Tuple]nf.Entry {
	if c.entryOf != nil {
		return c.entryOf
	}
	c.entryOf = map[nf.Tuple]nf.Entry{}
	for _, e := range c.record.Events {
		c.entryOf[e.Entry.Orig], c.entryOf[e.Entry.Reply] = nf.Entry{}, nf.Entry{}
	}
	for _, e := range c.look.flows {
		c.entryOf[e.Orig], c.entryOf[e.Reply] = e, e
	}
	return c.entryOf
}

const (
	noEntry      = "no entry"
	stateInvalid = "INVALID"
)

// byNetfilter is the kernel's reason for what rules and conntrack drop.
const byNetfilter = "NETFILTER_DROP"

func (c *collector) moments(t observe.Timeline) {
	for i, m := range t.Moments {
		if i == mostMoments {
			c.d.Omitted.Timeline = len(t.Moments) - i
			break
		}
		c.d.Timeline = append(c.d.Timeline, report.Moment{
			At: m.Time.Sub(c.d.Time), Kind: m.Kind.String(), Line: m.Text, Loss: m.Kind == observe.KindDrop, Frame: m.Frame,
		})
	}
}

// collect returns what a sequence yields until it fails.
func collect[T any](seq iter.Seq2[T, error]) (all []T, err error) {
	for v, err := range seq {
		if err != nil {
			return all, err
		}
		all = append(all, v)
	}
	return all, nil
}
