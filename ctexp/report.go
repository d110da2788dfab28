package ctexp

import (
	"context"
	"fmt"
	"strings"
)

// mostLines is how much of each list a report shows: what does not fit on a screen is not read.
const mostLines = 20

// Report says in a screenful of text what happened in the Lab: the path of the packets with the losses, the counts,
// the flows, what conntrack says of packets, the rules with their counters and the frames. A part that cannot be had says why in its place.
func (l *Lab) Report(ctx context.Context) string { return l.report(l.look(ctx)) }

func (l *Lab) report(k look) string {
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
	section("path", nil, nil)
	if k.pathErr == nil || k.path.Points != nil {
		b.WriteString(k.path.String())
	}
	if k.pathErr != nil {
		fmt.Fprintf(&b, "(%v)\n", k.pathErr)
	}
	section("counts", []string{k.tally.String()}, k.tallyErr)
	section(fmt.Sprintf("flows (%d)", len(k.flows)), lines(k.flows), k.flowsErr)
	if n := len(k.record.Reasons); n > 0 {
		section(fmt.Sprintf("what conntrack says of packets (%d)", n), lines(k.record.Reasons), k.lacks("reasons"))
	}
	section(fmt.Sprintf("rules (%d)", len(k.rules)), lines(k.rules), k.rulesErr)
	section(fmt.Sprintf("frames (%d)", len(k.record.Frames)), lines(k.record.Frames), k.lacks("frames"))
	return strings.TrimRight(b.String(), "\n")
}

func lines[T fmt.Stringer](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = v.String()
	}
	return out
}
