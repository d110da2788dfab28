package observe

import (
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Losses returns where packets went missing, in the order of the path. Neighbours of which the later has met more
// packets than the earlier (those that a rule made, or that were sent on from elsewhere) are none.
func (p Path) Losses() []Loss {
	full := p.Dropped // what the full table has dropped and no loss has yet been explained by
	var losses []Loss
	for _, f := range []nf.Family{nf.IPv4, nf.IPv6} {
		pre, in, fwd := p.at(f, nf.Prerouting), p.at(f, nf.Input), p.at(f, nf.Forward)
		out, post := p.at(f, nf.Output), p.at(f, nf.Postrouting)

		losses = append(losses, p.beforeHooks(f, first(pre))...)
		losses = append(losses, p.within(pre, &full)...)
		for _, l := range routed(f, last(pre), first(in), first(fwd), "") {
			l.Why = p.routing(f, l.Lost, "no route, a martian source (rp_filter), no forwarding, or for another host")
			losses = append(losses, l)
		}
		losses = append(losses, p.within(in, &full)...)
		losses = append(losses, p.within(fwd, &full)...)
		losses = append(losses, p.within(out, &full)...)
		losses = append(losses, routed(f, sum(last(fwd), last(out)), first(post), nil, "no route out, or too big for the next link")...)
		losses = append(losses, p.within(post, &full)...)
	}
	return losses
}

// within returns the losses between the probes of one hook.
func (p Path) within(points []Point, full *uint64) []Loss {
	var losses []Loss
	for i := 1; i < len(points); i++ {
		from, to := points[i-1], points[i]
		lost := monus(from.Packets, to.Packets)
		if to.Probe.BehindConfirm() {
			lost = monus(lost, p.Answered[from.Probe.Family].at(from.Probe.Hook))
		}
		if lost == 0 {
			continue
		}
		losses = append(losses, Loss{
			Family: from.Probe.Family, From: from.Probe.Name, To: to.Probe.Name, Lost: lost, Of: from.Packets,
			Why: p.why(from.Probe, to.Probe, lost, full),
		})
	}
	return losses
}

func (p Path) why(from, to nf.Probe, lost uint64, full *uint64) string {
	byRule := func() string { return p.byRule(from, to) }
	switch {
	case to.BehindConfirm():
		return p.unconfirmed(from.Family)
	case from.Priority < nf.PriorityDefrag && to.Priority > nf.PriorityDefrag:
		return "fragments put together, or " + byRule()
	case from.Priority < nf.PriorityConntrack && to.Priority > nf.PriorityConntrack:
		dropped := min(lost, *full)
		*full -= dropped
		switch {
		case dropped == 0:
			return byRule()
		case dropped < lost:
			return fmt.Sprintf("%d conntrack table full (drop +%d), %d %s", dropped, p.Dropped, lost-dropped, byRule())
		}
		return fmt.Sprintf("conntrack table full (drop +%d)", p.Dropped)
	}
	return byRule()
}

// routed returns what was lost on the way from one hook to another, or to one of two.
func routed(f nf.Family, from, to, or *Point, why string) []Loss {
	if from == nil || to == nil {
		return nil
	}
	arrived, names := to.Packets, to.Probe.Name
	if or != nil {
		arrived, names = arrived+or.Packets, names+" or "+or.Probe.Name
	}
	lost := monus(from.Packets, arrived)
	if lost == 0 {
		return nil
	}
	return []Loss{{Family: f, From: from.Probe.Name, To: names, Lost: lost, Of: from.Packets, Why: why}}
}

func first(points []Point) *Point {
	if len(points) == 0 {
		return nil
	}
	return &points[0]
}

func last(points []Point) *Point {
	if len(points) == 0 {
		return nil
	}
	return &points[len(points)-1]
}

// sum returns a point that both lead on from.
func sum(a, b *Point) *Point {
	switch {
	case a == nil:
		return b
	case b == nil || b.Packets == 0:
		return a
	case a.Packets == 0:
		return b
	}
	s := *a
	s.Probe.Name += " and " + b.Probe.Name
	s.Packets += b.Packets
	return &s
}
