package observe

// makeSteps turns the messages about the user's rules into steps. Function link names a link, text a rule.
func makeSteps(kept []tracedAt, frames []Frame, link func(int32) string, text func(traced) string) []Step {
	var t tracer
	of := make([]*tracedPacket, len(kept))
	for i, m := range kept {
		of[i] = t.packet(m.traced)
	}
	seen := make([]*sighting, len(t.packets))
	for i, p := range t.packets {
		seen[i] = &sighting{link: link(p.link()), dir: p.dir(), header: p.header, dropped: p.dropped}
	}
	sight(frames, seen)
	var steps []Step
	for i, m := range kept {
		if m.isOurs() || m.isEnd() {
			continue
		}
		p := of[i]
		s := Step{
			Time: m.time, Packet: p.n, Link: seen[p.n].link, Dir: p.dir(), Header: p.header,
			Family: familyNames[m.family], Table: m.table, Chain: m.chain,
			Handle: m.handle, Verdict: verdictName(m.verdict, m.to), State: m.state, Status: m.status,
		}
		if f := seen[p.n].frame; f >= 0 {
			s.Time = frames[f].Time
		}
		switch m.typ {
		case tracePolicy:
			s.Kind, s.Verdict = StepPolicy, verdictName(m.policy, "")
		case traceReturn:
			s.Kind = StepReturn
		default:
			s.Kind, s.Rule = StepRule, text(m.traced)
		}
		steps = append(steps, s)
	}
	return steps
}

// familyNames has the names of the families of nftables (include/uapi/linux/netfilter.h, NFPROTO_*).
var familyNames = map[uint8]string{1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
