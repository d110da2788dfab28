package observe

import "github.com/ctexp/go-ctexp/ctexp/nf"

// refusesUnreachable is the type of routes and routing rules that answer with ENETUNREACH or EHOSTUNREACH.
const refusesUnreachable = "unreachable"

// routing returns why packets of a family did not get from prerouting to another hook.
func (p Path) routing(f nf.Family, lost uint64) []Cause {
	causes, explained := p.counted(f, countersOfRouting[f], reasonsOfRouting)
	for i, c := range causes {
		if c.Kind == CauseNoRoute && c.Counter != "" {
			causes[i].Refusals = p.asNoRoute(f)
		}
	}
	exceeded, maybe := p.hopLimit(f)
	if exceeded.Packets > 0 {
		causes, explained = append(causes, exceeded), explained+exceeded.Packets
	}
	if explained < lost {
		causes = append(causes, maybe...)
	}
	switch {
	case explained >= lost:
	case p.MIB == nil:
		causes = append(causes, Cause{Kind: CauseNoRoute}, Cause{Kind: CauseReversePath}, Cause{Kind: CauseMartian}, Cause{Kind: CauseNotForwarding})
	case len(p.Refusals[f]) > 0: // which count nothing, but those of asNoRoute
		causes = append(causes, Cause{Kind: CauseRefusingRoute, Refusals: p.Refusals[f]}, Cause{Kind: CauseMartian}, Cause{Kind: CauseUnknown})
	default: // all other causes have a counter
		causes = append(causes, Cause{Kind: CauseMartian}, Cause{Kind: CauseUnknown})
	}
	return causes
}

// asNoRoute returns the refusals of a family that are counted as packets without a route: of IPv4 only unreachable routing rules, whose
// error is ENETUNREACH (net/ipv4/fib_rules.c, fib4_rule_action; route.c, ip_error).
func (p Path) asNoRoute(f nf.Family) (all []Refusal) {
	for _, r := range p.Refusals[f] {
		if f == nf.IPv6 || r.ByRule && r.Type == refusesUnreachable {
			all = append(all, r)
		}
	}
	return all
}

// hopLimit returns how many packets of a family certainly exceeded their hop limit, and what else the counter of header errors
// may stand for.
func (p Path) hopLimit(f nf.Family) (certain Cause, maybe []Cause) {
	counters := countersOfHeaders[f]
	n := p.headerErrors(f)
	proven := n
	if p.MIB[counters.problems.name] > 0 || p.lostBeforeHooks(f) > 0 {
		proven = min(n, p.MIB[counters.exceeded.name])
	}
	if proven < n {
		maybe = []Cause{{Kind: CauseMalformedHeader}}
		if proven == 0 {
			maybe = []Cause{{Kind: CauseHopLimit}, {Kind: CauseMalformedHeader}}
		}
	}
	return Cause{Kind: CauseHopLimit, Certain: true, Counter: counters.errors.name, Packets: proven}, maybe
}

// malformed is the number of packets of a family that certainly had a malformed header and so met no hook: as many as have an error of
// the header if none had it later, at routing or, of IPv6, at the host itself (net/ipv6/exthdrs.c, ipv6_destopt_rcv).
func (p Path) malformed(f nf.Family) uint64 {
	pre, in, fwd := p.at(f, nf.Prerouting), p.at(f, nf.Input), p.at(f, nf.Forward)
	if len(pre) == 0 || len(in) == 0 || len(fwd) == 0 || p.kernelDrops(f, reasonMalformed) > 0 {
		return 0
	}
	_, atRouting := between(last(pre), append(first(in), first(fwd)...))
	if atRouting || f == nf.IPv6 && in[0].Packets > 0 {
		return 0
	}
	return p.headerErrors(f)
}

// headerErrors is the number of packets of a family with an error of the header that is not its checksum, or whose hop limit was exceeded.
func (p Path) headerErrors(f nf.Family) uint64 {
	n := p.MIB[countersOfHeaders[f].errors.name]
	if f == nf.IPv4 { // it also counts checksum errors
		n = saturatingSub(n, p.MIB["IpExtInCsumErrors"])
	}
	return n
}

// lostBeforeHooks returns the number of packets of a family that arrived and met no hook, without those that counters account for.
func (p Path) lostBeforeHooks(f nf.Family) uint64 {
	pre := p.at(f, nf.Prerouting)
	if len(pre) == 0 {
		return 0
	}
	_, explained := p.counted(f, countersBeforeHooks[f], nil)
	return saturatingSub(p.Arrived[f], pre[0].Packets+explained)
}
