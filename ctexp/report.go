package ctexp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/internal/report"
	"github.com/ctexp/go-ctexp/internal/ruleset"
)

// How many lines of each list a report shows, so that the whole of it fits on a screen: about 40 lines. What does not is
// not read, and is on the page.
const (
	mostFlowLines   = 6
	mostReasonLines = 5
	mostRuleLines   = 8
	maxFrameLines   = 8
)

// Report says in a screenful of text what happened in the Lab: the path of the packets with the losses, the counts,
// the flows, what conntrack says of packets, the rules with their counters and the frames. The path is whole, of long lists
// it has the beginning, of many rules those that have counted; reasons and frames that differ in a number are one line. A
// part that cannot be had says why in its place.
func (l *Lab) Report(ctx context.Context) string {
	k := l.lookAtAll(ctx)
	return l.reportText(k, l.reportData(k, ""), "")
}

// reportText is the report, of which d is the same for the page; which is said of a Lab that is one of several.
func (l *Lab) reportText(k look, d report.Data, which string) string {
	t := &text{}
	if which != "" {
		which += ": "
	}
	fmt.Fprintf(t, "what happened in %s%v\n", which, l.Env)

	t.title("path", -1, k.pathErr)
	if k.pathErr == nil || k.path.Points != nil {
		t.WriteString(k.path.String())
	}
	t.failed(k.pathErr)

	t.title("counts", -1, k.tallyErr)
	if k.tallyErr == nil {
		fmt.Fprintln(t, k.tally)
	}
	t.failed(k.tallyErr)

	t.title("flows", len(k.flows), k.flowsErr)
	t.list(lines(k.flows), mostFlowLines)
	t.failed(k.flowsErr)

	if n := len(k.record.Reasons); n > 0 {
		t.title("what conntrack says of packets", n, nil)
		t.list(reasonLines(k.record.Reasons), mostReasonLines)
		t.failed(k.lacks(observe.PartReasons))
	}

	t.title("rules", len(k.rules), k.rulesErr)
	shown, rest := ruleLines(k.rules)
	t.list(shown, len(shown))
	t.more(rest)
	t.failed(k.rulesErr)

	t.title("frames", len(k.record.Frames), k.lacks(observe.PartFrames))
	shown, rest = frameLines(d)
	t.list(shown, len(shown))
	t.more(rest)
	t.failed(k.lacks(observe.PartFrames))
	return strings.TrimRight(t.String(), "\n")
}

// text is a report that is being written.
type text struct{ strings.Builder }

// title begins a part that has n things, or is no list if that is negative. Of what could not be had there is no number.
func (t *text) title(what string, n int, err error) {
	if n < 0 || n == 0 && err != nil {
		fmt.Fprintf(t, "--- %s\n", what)
		return
	}
	fmt.Fprintf(t, "--- %s (%d)\n", what, n)
}

// list writes the first lines, as many as most, and one more if that is the last: to say so takes as much room.
func (t *text) list(lines []string, most int) {
	left := len(lines) - most
	if left > 1 {
		lines = lines[:most]
	}
	for _, s := range lines {
		fmt.Fprintln(t, s)
	}
	if left > 1 {
		t.more(fmt.Sprintf("%d more", left))
	}
}

// more says what is left out; nothing if that is "".
func (t *text) more(what string) {
	if what != "" {
		fmt.Fprintf(t, "… %s\n", what)
	}
}

func (t *text) failed(err error) {
	if err != nil {
		fmt.Fprintf(t, "(%v)\n", err)
	}
}

func lines[T fmt.Stringer](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = v.String()
	}
	return out
}

// ruleLines returns the rules to show, all of a few, of many those that have counted, and what is to be said of the others.
func ruleLines(rules []observe.Rule) (shown []string, rest string) {
	if len(rules) <= mostRuleLines+1 {
		return lines(rules), ""
	}
	left, counted, blind := 0, 0, 0
	for _, r := range rules {
		switch hit := r.Counted && r.Packets > 0; {
		case hit && len(shown) < mostRuleLines:
			shown = append(shown, r.String())
			continue
		case hit:
			counted++
		case !r.Counted:
			blind++
		}
		left++
	}
	rest = fmt.Sprintf("%d more, none counted", left)
	if counted > 0 {
		rest = fmt.Sprintf("%d more, %d of them counted", left, counted)
	}
	if blind > 0 {
		rest += fmt.Sprintf(", %d have no counter", blind)
	}
	return shown, rest
}

// look is all that the Observer of a Lab tells, each part asked for once, with why it could not be had.
type look struct {
	path      observe.Path
	pathErr   error
	tally     observe.Tally
	tallyErr  error
	stats     observe.Stats
	statsErr  error
	flows     []nf.Entry
	flowsErr  error
	rules     []observe.Rule
	rulesErr  error
	record    observe.Record    // its Missing says what it lacks
	recordErr error             // what of it was lost
	listings  []ruleset.Listing // of the rules
	listErrs  []error
}

// look asks the Observer for what fates are worked out from. The record comes last, so that what conntrack is asked for is
// in it.
func (l *Lab) look(ctx context.Context) (k look) {
	k.path, k.pathErr = l.Observer.Path(ctx)
	k.tally, k.tallyErr = l.Observer.Tally(ctx)
	k.flows, k.flowsErr = collect(l.Observer.Flows(ctx, nf.Filter{}))
	k.record, k.recordErr = l.Observer.Record(ctx)
	return k
}

// lookAtAll is look with what else a report has. The rules come last: to list them takes programs, and a failure near the
// test's deadline should explain itself without them.
func (l *Lab) lookAtAll(ctx context.Context) look {
	k := l.look(ctx)
	k.stats, k.statsErr = l.Observer.Stats(ctx)
	k.rules, k.rulesErr = l.Observer.Rules(ctx)
	k.listings, k.listErrs = ruleset.Listings(k.rules, func(name string, args ...string) ([]byte, error) {
		return l.Env.Command(ctx, name, args...).Output()
	})
	return k
}

// lacks returns why a part of the record could not be had, or not whole.
func (k look) lacks(part observe.RecordPart) error {
	if len(k.record.Missing) == 0 {
		return k.recordErr // not even begun
	}
	return k.record.Lacks(part)
}

// closed returns why nothing can be had any more of a Lab that is closed; nil if it is open.
func (k look) closed() error {
	for _, err := range []error{k.tallyErr, k.flowsErr, k.recordErr} {
		if errors.Is(err, os.ErrClosed) {
			return err
		}
	}
	return nil
}

// since returns what is in k and not in before, which is the earlier one of the same Lab: of the path the difference, of the
// record what was recorded later.
func (k look) since(before look) look {
	d := k
	d.path, d.tally = k.path.Sub(before.path), k.tally.Sub(before.tally)
	d.record.Frames = k.record.Frames[min(len(before.record.Frames), len(k.record.Frames)):]
	d.record.Reasons = k.record.Reasons[min(len(before.record.Reasons), len(k.record.Reasons)):]
	d.record.Unexplained = k.record.Unexplained[min(len(before.record.Unexplained), len(k.record.Unexplained)):]
	d.record.Steps = k.record.Steps[min(len(before.record.Steps), len(k.record.Steps)):]
	d.record.Events = k.record.Events[min(len(before.record.Events), len(k.record.Events)):]
	d.record.Drops = k.record.Drops[min(len(before.record.Drops), len(k.record.Drops)):]
	return d
}

// reasonLines says each reason once, in the order of the first packets, with how many had it. Reasons that differ in their
// numbers are one.
func reasonLines(reasons []observe.Reason) []string {
	type of struct {
		proto nf.Proto
		text  string
	}
	var firsts []observe.Reason
	times, at := []int{}, map[of]int{}
	for _, r := range reasons {
		key := of{r.Proto, number.ReplaceAllString(r.Text, "N")}
		i, known := at[key]
		if !known {
			i = len(firsts)
			at[key], firsts, times = i, append(firsts, r), append(times, 0)
		}
		times[i]++
	}
	out := lines(firsts)
	for i, n := range times {
		if n > 1 {
			out[i] += fmt.Sprintf(" ×%d", n)
		}
	}
	return out
}

var number = regexp.MustCompile(`[0-9]+`)

// frameLines returns the frames to show, and what is to be said of the others: neighbours that differ in a port of one side
// and in nothing else are one line, as on the page. What became of them stands behind.
func frameLines(d report.Data) (shown []string, rest string) {
	var folds []report.Fold
	left, dropped := d.Omitted.Frames, d.Omitted.Dropped
	for i, f := range d.Frames {
		if n := len(folds); n > 0 && folds[n-1].Add(f) {
			continue
		}
		if len(folds) <= maxFrameLines {
			folds = append(folds, report.NewFold(f))
			continue
		}
		last := folds[maxFrameLines] // there was room for it as long as it was the last
		folds = folds[:maxFrameLines]
		others := append(slices.Repeat([]report.Frame{last.Frame}, last.Times), d.Frames[i:]...)
		for _, f := range others {
			left++
			if f.Verdict == report.Dropped {
				dropped++
			}
		}
		break
	}
	for _, f := range folds {
		shown = append(shown, fmt.Sprintf("%s %s %-3s %v", d.Time.Add(f.At).Format("15:04:05.000000"), f.Link, f.Direction(), f))
	}
	if left > 0 {
		rest = fmt.Sprintf("%d more", left)
	}
	if dropped > 0 {
		rest += fmt.Sprintf(", %d of them dropped", dropped)
	}
	return shown, rest
}
