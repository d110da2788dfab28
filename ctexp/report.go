package ctexp

import (
	"context"
	"fmt"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// mostLines is how much of each list a report shows: what does not fit on a screen is not read.
const mostLines = 20

// Report says in a screenful of text what happened in the Lab: the path of the packets with the losses, the counts,
// the flows, what conntrack says of packets, the rules with their counters and the frames. A part that cannot be had says why in its place.
func (l *Lab) Report(ctx context.Context) string {
	var b strings.Builder
	section := func(title string, lines []string, err error) {
		fmt.Fprintf(&b, "--- %s\n", title)
		left := len(lines) - mostLines
		if left > 1 {
			lines = lines[:mostLines]
		}
		for _, s := range lines {
			fmt.Fprintf(&b, "%s\n", s)
		}
		if left > 1 {
			fmt.Fprintf(&b, "… and %d more\n", left)
		}
		if err != nil {
			fmt.Fprintf(&b, "(%v)\n", err)
		}
	}
	fmt.Fprintf(&b, "what happened in %v\n", l.Env)
	path, err := l.Observer.Path(ctx)
	if err == nil {
		fmt.Fprintf(&b, "--- path\n%s\n", strings.TrimRight(path.String(), "\n"))
	} else {
		section("path", nil, err)
	}
	tally, err := l.Observer.Tally(ctx)
	section("counts", []string{tally.String()}, err)
	flows, err := l.flowLines(ctx)
	section(fmt.Sprintf("flows (%d)", len(flows)), flows, err)
	if reasons, err := collect(l.Observer.Reasons(ctx)); len(reasons) > 0 {
		section(fmt.Sprintf("what conntrack says of packets (%d)", len(reasons)), lines(reasons), err)
	}
	rules, err := l.ruleLines(ctx)
	section(fmt.Sprintf("rules (%d)", len(rules)), rules, err)
	frames, err := l.frameLines(ctx)
	section(fmt.Sprintf("frames (%d)", len(frames)), frames, err)
	return strings.TrimRight(b.String(), "\n")
}

func (l *Lab) flowLines(ctx context.Context) ([]string, error) {
	flows, err := collect(l.Observer.Flows(ctx, nf.Filter{}))
	return lines(flows), err
}

func (l *Lab) ruleLines(ctx context.Context) ([]string, error) {
	rules, err := l.Observer.Rules(ctx)
	return lines(rules), err
}

func (l *Lab) frameLines(ctx context.Context) ([]string, error) {
	frames, err := collect(l.Observer.Frames(ctx))
	return lines(frames), err
}

func lines[T fmt.Stringer](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = v.String()
	}
	return out
}
