package observe

import "github.com/ctexp/go-ctexp/internal/nfnl"

// makeSteps turns the messages about the user's rules into steps. Function link names a link, text a rule.
func makeSteps(kept []tracedAt, frames []Frame, link func(int32) string, text func(traced) string) []Step {
	var t tracer
	var steps []Step
	for _, m := range kept {
		p := t.packet(m.traced)
		if m.isOurs() || m.isEnd() {
			continue
		}
		s := Step{
			Time: m.time, Packet: p.n,
			Family: familyNames[m.Family], Table: m.Table, Chain: m.Chain,
			Handle: m.Handle, Verdict: nfnl.VerdictName(m.Verdict, m.To), State: p.state, Status: p.status,
		}
		switch m.Type {
		case nfnl.TracePolicy:
			s.Kind, s.Verdict = StepPolicy, nfnl.VerdictName(m.Policy, "")
		case nfnl.TraceReturn:
			s.Kind = StepReturn
		default:
			s.Kind, s.Rule = StepRule, text(m.traced)
		}
		steps = append(steps, s)
	}

	// What a packet looked like and where it went is known when all is told.
	seen := make([]*sighting, len(t.packets))
	for i, p := range t.packets {
		seen[i] = &sighting{link: link(p.link()), dir: p.dir(), header: p.header, dropped: p.dropped}
	}
	sight(frames, seen)
	for i := range steps {
		s := &steps[i]
		p := seen[s.Packet]
		s.Link, s.Dir, s.Header = p.link, p.dir, p.header
		if p.frame >= 0 {
			s.Time = frames[p.frame].Time
		}
	}
	return steps
}

// familyNames has the names of the families of nftables (include/uapi/linux/netfilter.h, NFPROTO_*).
var familyNames = map[uint8]string{1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
