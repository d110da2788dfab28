package observe

import (
	"fmt"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// String draws the path, a line for each hook that saw packets with the count at each probe on it, and below it what
// was lost there and why:
//
//	ipv4 prerouting   defrag 10 → raw 10 → conntrack 10 → mangle 7 → nat 7 → filter 7 → end 7
//	                  3 of 10 lost between conntrack and mangle: conntrack table full (drop +3)
//	     input        mangle 7 → filter 7 → security 7 → nat 7 → confirm 7 → confirmed 7
//	silenced output   7 of the host's own packets, before conntrack saw them
func (p Path) String() string {
	losses := p.Losses()
	var b strings.Builder
	for _, f := range []nf.Family{nf.IPv4, nf.IPv6} {
		family := f.String()
		for _, l := range losses {
			if l.Family == f && l.BeforeHooks() {
				fmt.Fprintf(&b, "%-4s %-12s link %d\n", family, "ingress", l.Of)
				fmt.Fprintf(&b, "%-17s %d of %d lost before the hooks: %s\n", "", l.Lost, l.Of, l.Why)
				family = ""
			}
		}
		for _, h := range []nf.Hook{nf.Prerouting, nf.Input, nf.Forward, nf.Output, nf.Postrouting} {
			points := p.at(f, h)
			if !anyPackets(points) {
				continue
			}
			fmt.Fprintf(&b, "%-4s %-12s %s\n", family, h, stages(points))
			family = ""
			for _, l := range losses {
				if l.Family == f && lostAt(l, points) {
					fmt.Fprintf(&b, "%-17s %d of %d %s %s: %s\n", "", l.Lost, l.Of, l.verb(), between(l, h), l.Why)
				}
			}
			if n := p.Answered[f].at(h); n > 0 {
				fmt.Fprintf(&b, "%-17s %s\n", "", answeredText(n))
			}
		}
	}
	if p.Silenced > 0 {
		fmt.Fprintf(&b, "%-17s %d of the host's own packets, before conntrack saw them\n", "silenced output", p.Silenced)
	}
	for i, s := range p.remarks() {
		title := ""
		if i == 0 {
			title = "conntrack says"
		}
		fmt.Fprintf(&b, "%-17s %v\n", title, s)
	}
	for i, t := range p.Thrown {
		title := ""
		if i == 0 {
			title = "the kernel drops"
		}
		fmt.Fprintf(&b, "%-17s %v\n", title, t)
	}
	if b.Len() == 0 {
		return "no packet met a probe\n"
	}
	return b.String()
}

func anyPackets(points []Point) bool {
	for _, p := range points {
		if p.Packets > 0 {
			return true
		}
	}
	return false
}

func stages(points []Point) string {
	s := make([]string, len(points))
	for i, p := range points {
		s[i] = fmt.Sprintf("%s %d", stage(p.Probe.Name), p.Packets)
	}
	return strings.Join(s, " → ")
}

// lostAt reports whether a loss belongs under the line of these points: behind one of them.
func lostAt(l Loss, points []Point) bool {
	for _, p := range points {
		if l.From == p.Probe.Name || strings.HasSuffix(l.From, " and "+p.Probe.Name) {
			return true
		}
	}
	return false
}

// between names the place of a loss, within the hook h briefly.
func between(l Loss, h nf.Hook) string {
	hook := "/" + h.String()
	if strings.HasSuffix(l.From, hook) && strings.HasSuffix(l.To, hook) {
		return fmt.Sprintf("between %s and %s", stage(l.From), stage(l.To))
	}
	return fmt.Sprintf("behind %s, before %s", stage(l.From), l.To)
}

// stage returns what stands between the family and the hook in the name of a standard probe.
func stage(name string) string {
	name = strings.TrimPrefix(name, "ip6/")
	s, _, _ := strings.Cut(name, "/")
	return s
}
