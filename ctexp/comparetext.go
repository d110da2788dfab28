package ctexp

import (
	"fmt"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/inject"
)

// Diff returns the packets whose fates differ between the policies, with these fates; "" if there are none.
func (c Comparison) Diff() string {
	return c.text(func(p Compared) bool { return len(p.groups()) > 1 })
}

// String returns what became of every packet under every policy. Policies under which it is the same share a line.
func (c Comparison) String() string { return c.text(func(Compared) bool { return true }) }

func (c Comparison) text(show func(Compared) bool) string {
	var b strings.Builder
	for i, p := range c.Packets {
		if !show(p) {
			continue
		}
		fmt.Fprintf(&b, "packet %d by %s: %v\n", i+1, p.Link, p.Packet)
		groups := p.groups()
		for _, g := range groups {
			c.group(&b, p, g)
		}
		if len(groups) > 1 {
			b.WriteString(c.bytes(p, groups[0][0], groups[1][0]))
		}
	}
	return b.String()
}

// group shows the fate that a packet has under some policies, and what each of these says of how it was lost.
func (c Comparison) group(b *strings.Builder, p Compared, group []int) {
	var names []string
	same := true
	for _, at := range group {
		names = append(names, c.Policies[at])
		same = same && p.Outcomes[at].why() == p.Outcomes[group[0]].why()
	}
	o, why := p.Outcomes[group[0]], ""
	if same {
		why = o.why()
	}
	fmt.Fprintf(b, "  %s: %s\n", strings.Join(names, ", "), strings.ReplaceAll(o.text(why), "\n", "\n    "))
	for _, at := range group {
		if !same {
			fmt.Fprintf(b, "      %s: %s\n", c.Policies[at], p.Outcomes[at].why())
		}
	}
}

// groups returns the numbers of the policies under which the packet's fate is the same.
func (p Compared) groups() (groups [][]int) {
next:
	for i, o := range p.Outcomes {
		for j, g := range groups {
			if o.Same(p.Outcomes[g[0]]) {
				groups[j] = append(g, i)
				continue next
			}
		}
		groups = append(groups, []int{i})
	}
	return groups
}

// bytes shows the fields in which two packets differ that left by the same link and look the same in one line.
func (c Comparison) bytes(p Compared, a, b int) string {
	one, other := p.Outcomes[a].Out, p.Outcomes[b].Out
	for i := range min(len(one), len(other)) {
		if one[i].Link == other[i].Link && one[i].compare != other[i].compare && one[i].Packet.String() == other[i].Packet.String() {
			return fmt.Sprintf("    by its fields, %s (want) and %s (got):\n    ", c.Policies[a], c.Policies[b]) + strings.ReplaceAll(strings.TrimRight(inject.Diff(one[i].Packet, other[i].Packet), "\n"), "\n", "\n    ") + "\n"
		}
	}
	return ""
}

// String says what became of the packet: where it was lost, or what left and by which link, and its entry.
func (o Outcome) String() string { return o.text(o.why()) }

func (o Outcome) text(why string) string {
	var lines []string
	if len(o.Losses) > 0 {
		var hooks []string
		for _, h := range o.lost() {
			hooks = append(hooks, h.String())
		}
		lost := "lost in " + strings.Join(hooks, " and ")
		if why != "" {
			lost += ", " + why
		}
		lines = append(lines, lost)
	}
	for _, s := range o.Out {
		what := "the host sends by"
		if s.Passed {
			what = "leaves by"
		}
		lines = append(lines, fmt.Sprintf("%s %s: %v", what, s.Link, s.Packet))
	}
	if len(lines) == 0 {
		lines = append(lines, "taken by the host, which says nothing")
	}
	entry := "no entry"
	if o.Entry != "" {
		entry = "entry " + o.Entry
	}
	return strings.Join(append(lines, entry), "\n")
}
