package ctexp

import (
	"context"
	"fmt"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/internal/report"
)

// How many lines of each list a report shows, so that the whole of it fits on a screen: about 40 lines. What does not is
// not read, and is on the page.
const (
	mostFlowLines   = 6
	mostReasonLines = 5
	mostRuleLines   = 8
	mostFrameLines  = 8
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
	shown, rest = frameLines(k.record.Frames, d.Frames)
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
