package ctexp

import (
	"errors"
	"iter"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/internal/report"
)

// frames puts beside each frame what became of its packet.
func (c *collector) frames() {
	r := c.record
	for _, m := range r.Missing {
		if m.Part == observe.PartTrace && errors.Is(m.Err, errors.ErrUnsupported) {
			continue // tracing is asked for by Config.Trace: to do without is no lack
		}
		c.missing(string(m.Part), m.Err)
	}
	c.moments(r.Timeline())
	for i, f := range c.fates {
		if i == mostFrames {
			c.d.Omitted.Frames = len(c.fates) - i
			break
		}
		_, line, _ := strings.Cut(f.Frame.String(), f.Frame.Dir.String())
		out := report.Frame{
			At: f.Frame.Time.Sub(c.d.Time), Link: f.Frame.Link, Dir: strings.ToLower(f.Frame.Dir.String()),
			Line: strings.TrimSpace(line), State: f.State, Causes: report.CausesOf(f.Causes), Reason: f.Why(),
		}
		if f.Lost {
			out.Verdict = report.Dropped
		}
		for _, s := range f.Steps {
			out.Steps = append(out.Steps, s.String())
		}
		c.d.Frames = append(c.d.Frames, out)
	}
}

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
