package report

import (
	"fmt"
	"slices"
	"strings"
)

// timelineText is the timeline, a line each, in the form of observe.Timeline's String: what is missing stands in brackets
// at the end.
func (d Data) timelineText() []string {
	var out []string
	for _, m := range d.Timeline {
		out = append(out, fmt.Sprintf("%s %-6s %s", d.Time.Add(m.At).Format("15:04:05.000000"), oneLine(m.Kind), oneLine(m.Text())))
	}
	out = d.rest(out, d.Omitted.Timeline, PartTimeline)
	for _, part := range []string{PartFrames, "reasons", "trace", "events", "drops", "counts"} {
		if why := d.missing(part); why != "" {
			out = append(out, fmt.Sprintf("(%s: %s)", part, oneLine(why)))
		}
	}
	return out
}

// flowsText is the flows by their canonical lines, sorted, so that two of these files can be compared.
func (d Data) flowsText() []string {
	var out []string
	for _, f := range d.Flows {
		out = append(out, oneLine(f.Line))
	}
	slices.Sort(out)
	return d.rest(out, d.Omitted.Flows, PartFlows)
}

// statsText is the tally, its laws, and the statistics of the kernel.
func (d Data) statsText() []string {
	out := []string{"# tally"}
	for _, c := range d.Tally {
		out = append(out, fmt.Sprintf("%-24s %d", oneLine(c.Name), c.N))
	}
	for _, l := range d.Laws {
		s := fmt.Sprintf("%s: %s", oneLine(l.Law), oneLine(l.Verdict))
		if l.Why != "" {
			s += ": " + oneLine(l.Why)
		}
		out = append(out, s)
	}
	out = append(d.rest(out, 0, PartTally), "# kernel statistics since the start")
	for _, c := range d.Stats {
		out = append(out, fmt.Sprintf("%-24s %+d", oneLine(c.Name), c.N))
	}
	return d.rest(out, 0, PartStats)
}

// sysctlText is the sysctls as a difference.
func (d Data) sysctlText() []string {
	var out []string
	for _, s := range d.Sysctls {
		if s.Before != "" {
			out = append(out, fmt.Sprintf("-%s = %s", oneLine(s.Name), oneLine(s.Before)))
		}
		if s.After != "" {
			line := fmt.Sprintf("+%s = %s", oneLine(s.Name), oneLine(s.After))
			if s.By != "" {
				line += " # by " + oneLine(s.By)
			}
			out = append(out, line)
		}
	}
	return d.rest(out, 0, PartSysctls)
}

// rulesText is the rules of nft, or those of iptables, with their counters; nothing where there are none.
func (d Data) rulesText(nft bool) []string {
	var out []string
	for _, r := range d.Rules {
		if (r.Backend == "nft") != nft {
			continue
		}
		s := strings.TrimRight(fmt.Sprintf("%s %s %s %s", r.Backend, r.Family, r.Table, r.Chain), " ") + ": "
		if r.Kind != "rule" {
			s += r.Kind + " "
		}
		s += r.Text
		if r.Counted {
			s += fmt.Sprintf(" [packets %d bytes %d]", r.Packets, r.Bytes)
		}
		out = append(out, oneLine(s))
	}
	if out == nil {
		return nil
	}
	return d.rest(out, d.Omitted.Rules, PartRules)
}

// rest says at the end of a list what is not in it.
func (d Data) rest(out []string, more int, part string) []string {
	if more > 0 {
		out = append(out, fmt.Sprintf("# … and %d more", more))
	}
	if why := d.missing(part); why != "" {
		out = append(out, "# "+oneLine(why))
	}
	return out
}

// oneLine makes one line of text that could be several.
func oneLine(s string) string {
	return strings.NewReplacer("\n", "␊", "\t", " ").Replace(visible(s))
}
