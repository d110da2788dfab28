package observe

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Loss is a place where packets of a Path were lost, with the causes.
type Loss struct {
	// Family of the packets; zero if packets of both families went there and what was counted may be of either.
	Family nf.Family
	// Hook is the hook in which the packets were lost, or the last one that they passed; nf.Ingress before the first.
	Hook nf.Hook
	// From are the names of the probes that the packets met last, and To of those that they should have met next:
	// "conntrack/prerouting" and "mangle/prerouting". Before the first hook From is "link/ingress"; behind the last To
	// is "socket/input" or "link/egress". From has two names if two probes lead to the next one, To if packets may
	// continue at either of two.
	From, To []string
	Lost, Of uint64 // packets that were lost, and those that met the probes in From
	// Unconfirmed says that the packets continued, but without an entry in the table.
	Unconfirmed bool
	// Causes explain the loss as far as counters and rules do, the certain ones first.
	Causes []Cause
}

// Why prints the causes: "no route (IpExtInNoRoutes +1); else a martian address, or an unknown reason".
func (l Loss) Why() string { return joinCauses(l.Causes) }

// String prints the loss as a sentence: "3 of 10 lost between conntrack/prerouting and mangle/prerouting: conntrack
// table full (drop +3)".
func (l Loss) String() string {
	return fmt.Sprintf("%d of %d %s between %s: %s", l.Lost, l.Of, l.verb(), l.Between(), l.Why())
}

// Between names the place of the loss: "conntrack/prerouting and mangle/prerouting".
func (l Loss) Between() string {
	return strings.Join(l.From, " and ") + " and " + strings.Join(l.To, " or ")
}

func (l Loss) verb() string {
	switch {
	case l.Unconfirmed:
		return "without an entry"
	case l.Held():
		return "held"
	}
	return "lost"
}

// Held reports whether all packets of the loss wait in queues: they are not lost.
func (l Loss) Held() bool { return OnlyHeld(l.Causes) }

// OnlyHeld reports whether packets with these causes certainly wait in a queue.
func OnlyHeld(causes []Cause) bool {
	return len(causes) > 0 && !slices.ContainsFunc(causes, func(c Cause) bool { return c.Kind != CauseHeld })
}

// Losses returns where packets were lost, in the order of the path. Between two probes of which the later one counted
// more packets, there is no loss: a rule created packets, or they came from elsewhere.
func (p Path) Losses() []Loss {
	// What cannot be inserted at the confirmation is counted as a drop, too (net/netfilter/nf_conntrack_core.c, nf_ct_resolve_clash).
	left := unaccounted{full: saturatingSub(p.Dropped, p.InsertFailed), waiting: slices.Clone(p.Waiting)}
	var losses []Loss
	for _, f := range nf.Families() {
		pre, in, fwd := p.at(f, nf.Prerouting), p.at(f, nf.Input), p.at(f, nf.Forward)
		out, post := p.at(f, nf.Output), p.at(f, nf.Postrouting)

		losses = append(losses, p.beforeHooks(f, pre, &left)...)
		losses = append(losses, p.within(pre, &left)...)
		if l, lost := between(last(pre), append(first(in), first(fwd)...)); lost {
			causes, held := left.held(l, []nf.Hook{nf.Input, nf.Forward}, beforeFirst, nf.PriorityMangle-1)
			if held < l.Lost {
				causes = append(causes, p.routing(f, l.Lost-held)...)
			}
			l.Causes = causes
			losses = append(losses, l)
		}
		losses = append(losses, p.within(in, &left)...)
		losses = append(losses, p.within(fwd, &left)...)
		losses = append(losses, p.within(out, &left)...)
		if l, lost := between(append(last(fwd), last(out)...), first(post)); lost {
			causes, held := left.held(l, []nf.Hook{nf.Postrouting}, beforeFirst, nf.PriorityMangle-1)
			if held < l.Lost {
				causes = append(causes, Cause{Kind: CauseNoRoute}, Cause{Kind: CauseTooBig}, Cause{Kind: CauseUnknown})
			}
			l.Causes = causes
			losses = append(losses, l)
		}
		losses = append(losses, p.within(post, &left)...)
		losses = append(losses, p.fragmenting(f, losses)...)
		losses = append(losses, p.onEgress(f)...)
	}
	return append(losses, p.behindHooks()...)
}

// Where packets of a Loss behind the last hook did not arrive, like the names of probes.
const (
	socketInput = "socket/input"
	linkEgress  = "link/egress"
)

// fragmenting returns the packets of a family that were too big for their link behind the last hook, of those that the
// counters of earlier losses do not account for.
func (p Path) fragmenting(f nf.Family, before []Loss) []Loss {
	n := p.MIB[countersBehindHooks[f].name]
	for _, l := range before {
		for _, c := range l.Causes {
			if l.Family == f && c.Kind == CauseTooBig {
				n = saturatingSub(n, min(c.Packets, l.Lost))
			}
		}
	}
	if n == 0 {
		return nil
	}
	return p.behind(nf.Postrouting, linkEgress, n, []Cause{{Kind: CauseTooBig, Certain: true, Counter: countersBehindHooks[f].name, Packets: n}}, f)
}

// onEgress returns the packets of a family that rules at the hook egress took.
func (p Path) onEgress(f nf.Family) []Loss {
	n := p.EgressDropped[f]
	if n == 0 {
		return nil
	}
	causes := p.byRule(nf.Probe{Hook: nf.Egress, Family: f, Priority: nf.PriorityFirst}, nf.Probe{Priority: nf.PriorityConfirm}, n)
	return p.behind(nf.Postrouting, linkEgress, n, causes, f)
}

// behindHooks returns the packets that were lost behind the last hook: at a socket, in a queueing discipline, or at the
// other end of a link. All of them were counted.
func (p Path) behindHooks() []Loss {
	var atSockets, onLinks []Cause
	for _, e := range countersOfSockets {
		if n := p.MIB[e.name]; n > 0 {
			atSockets = append(atSockets, Cause{Kind: e.kind, Certain: true, Counter: e.name, Packets: n})
		}
	}
	for _, d := range p.LinkDrops {
		onLinks = append(onLinks, Cause{Kind: d.Kind, Certain: true, Counter: d.Link + " " + d.Counter, Link: d.Link, Packets: d.Packets})
	}
	return append(p.behind(nf.Input, socketInput, packetsOf(atSockets), atSockets, nf.Families()...),
		p.behind(nf.Postrouting, linkEgress, packetsOf(onLinks), onLinks, nf.Families()...)...)
}

// behind returns a loss behind the last probe of a hook; none without lost packets or probes. The family is one of those given, if
// packets of no other met the hook.
func (p Path) behind(h nf.Hook, to string, lost uint64, causes []Cause, families ...nf.Family) []Loss {
	l := Loss{Hook: h, To: []string{to}, Lost: lost, Causes: causes}
	for _, f := range families {
		points := p.at(f, h)
		if n := len(points); n > 0 && points[n-1].Probe.BehindConfirm() { // it counts only those with an entry
			points = points[:n-1]
		}
		if len(points) == 0 || len(families) > 1 && !anyPackets(points) {
			continue
		}
		at := points[len(points)-1]
		l.From, l.Of, l.Family = append(l.From, probeName(at.Probe)), l.Of+at.Packets, f
	}
	if l.Lost == 0 || len(l.From) == 0 {
		return nil
	}
	if len(l.From) > 1 {
		l.Family = 0
	}
	l.Of = max(l.Of, l.Lost) // a link also drops what no probe counts
	return []Loss{l}
}

// IsBehindHooks reports whether the packets were lost behind the last hook.
func (l Loss) IsBehindHooks() bool {
	return slices.Equal(l.To, []string{socketInput}) || slices.Equal(l.To, []string{linkEgress})
}

// unaccounted is what explains losses and is not yet part of one.
type unaccounted struct {
	full    uint64       // packets dropped by the full table
	waiting []nf.Waiting // packets in queues
}

// beforeFirst is below every priority.
const beforeFirst = int64(nf.PriorityFirst) - 1

// held returns the causes of the packets of a loss that wait in a queue of one of the hooks, and their number. The priority
// of the queueing chain is above one and at most the other: a chain of a Hold is younger than the probes and runs before
// those of its priority.
func (u *unaccounted) held(l Loss, hooks []nf.Hook, above int64, upTo int32) (causes []Cause, packets uint64) {
	for i, w := range u.waiting {
		if w.Family != l.Family || !slices.Contains(hooks, w.Hook) || int64(w.To) <= above || w.From > upTo {
			continue
		}
		if n := min(w.Packets, l.Lost-packets); n > 0 {
			u.waiting[i].Packets -= n
			packets += n
			causes = append(causes, Cause{Kind: CauseHeld, Certain: true, Queue: w.Queue, Packets: n})
		}
	}
	return causes, packets
}

func first(points []Point) []Point { return points[:min(1, len(points)):min(1, len(points))] }

func last(points []Point) []Point { return slices.Clone(points[max(0, len(points)-1):]) }

// between returns the loss between the last probes of some hooks and the first probes of the next ones. If two probes
// lead on, one that met no packet is omitted.
func between(from, to []Point) (l Loss, lost bool) {
	if len(from) > 1 {
		from = slices.DeleteFunc(from, func(p Point) bool { return p.Packets == 0 })
	}
	if len(from) == 0 || len(to) == 0 {
		return Loss{}, false
	}
	var arrived uint64
	l.Family, l.Hook = from[0].Probe.Family, from[0].Probe.Hook
	for _, p := range from {
		l.From, l.Of = append(l.From, p.Probe.Name), l.Of+p.Packets
	}
	for _, p := range to {
		l.To, arrived = append(l.To, p.Probe.Name), arrived+p.Packets
	}
	l.Lost = saturatingSub(l.Of, arrived)
	return l, l.Lost > 0
}

// within returns the losses between the probes of one hook.
func (p Path) within(points []Point, left *unaccounted) []Loss {
	var losses []Loss
	for i := 1; i < len(points); i++ {
		from, to := points[i-1].Probe, points[i].Probe
		l, lost := between(points[i-1:i], points[i:i+1])
		if !lost || to.BehindConfirm() {
			continue
		}
		var held uint64
		l.Causes, held = left.held(l, []nf.Hook{from.Hook}, int64(from.Priority), to.Priority)
		switch rest := l.Lost - held; {
		case rest == 0:
		case spans(from, to, nf.PriorityDefrag):
			l.Causes = append(l.Causes, p.defragmenting(from, to, rest)...)
			slices.SortStableFunc(l.Causes, certainFirst)
		case spans(from, to, nf.PriorityConntrack):
			dropped := min(rest, left.full)
			left.full -= dropped
			if dropped > 0 {
				l.Causes = append(l.Causes, Cause{Kind: CauseTableFull, Certain: true, Counter: "drop", Packets: dropped})
			}
			if dropped < rest {
				l.Causes = append(l.Causes, p.byRule(from, to, rest-dropped)...)
			}
		default:
			l.Causes = append(l.Causes, p.byRule(from, to, rest)...)
		}
		losses = append(losses, l)
	}
	return append(losses, p.atConfirmation(points, left)...)
}

// isConfirm reports whether p is the standard probe before the confirmation.
func isConfirm(p nf.Probe) bool {
	return p.Name == nf.ConfirmInput.Of(p.Family).Name || p.Name == nf.ConfirmPostrouting.Of(p.Family).Name
}

// droppedLast returns how many packets that met the probe before the confirmation were dropped there: by a rule of the last
// priority, by a helper, or because their entry could not be inserted.
func (p Path) droppedLast(confirm Point) uint64 {
	if p.Passed == nil || !isConfirm(confirm.Probe) {
		return 0
	}
	return saturatingSub(confirm.Packets, p.Passed[confirm.Probe.Name])
}

// atConfirmation returns what became of packets behind the probe before the confirmation of a hook: those that were dropped, and
// those that continued without an entry.
func (p Path) atConfirmation(points []Point, left *unaccounted) (losses []Loss) {
	i := slices.IndexFunc(points, func(at Point) bool { return isConfirm(at.Probe) })
	if i < 0 {
		return nil
	}
	confirm := points[i]
	f, h := confirm.Probe.Family, confirm.Probe.Hook
	confirmed := nf.ConfirmedInput
	if h == nf.Postrouting {
		confirmed = nf.ConfirmedPostrouting
	}
	dropped := p.droppedLast(confirm)
	l := Loss{Family: f, Hook: h, From: []string{confirm.Probe.Name}, To: []string{confirmed.Of(f).Name}, Of: confirm.Packets}
	if l.Lost = dropped; dropped > 0 {
		l := l
		causes, held := left.held(l, []nf.Hook{h}, int64(nf.PriorityConfirm)-1, nf.PriorityConfirm)
		if l.Causes = causes; held < dropped {
			l.Causes = append(l.Causes, p.unpassed(confirm.Probe, dropped-held)...)
		}
		losses = append(losses, l)
	}
	if i+1 == len(points) { // conntrack is off
		return losses
	}
	l.Lost, l.Unconfirmed = saturatingSub(confirm.Packets-dropped, points[i+1].Packets+p.Attached[f].at(h)), true
	if l.Lost > 0 {
		l.Causes = p.unconfirmed(f, l.Lost)
		losses = append(losses, l)
	}
	return losses
}

// spans reports whether the priority of defragmentation or conntrack is between two probes, in a hook that has them
// (net/ipv4/netfilter/nf_defrag_ipv4.c, ipv4_defrag_ops; net/netfilter/nf_conntrack_proto.c, ipv4_conntrack_ops).
func spans(from, to nf.Probe, priority int32) bool {
	return (from.Hook == nf.Prerouting || from.Hook == nf.Output) && from.Priority < priority && to.Priority > priority
}

// defragmenting returns why packets were lost at defragmentation. If its counters account for all of them, no rule
// dropped any.
func (p Path) defragmenting(from, to nf.Probe, lost uint64) []Cause {
	kept, refused := saturatingSub(p.MIB[reasmReqds], p.MIB[reasmOKs]), p.MIB[reasmFails]
	if from.Family == nf.IPv4 && kept == lost {
		refused = min(refused, kept)
		causes := []Cause{
			{Kind: CauseReassembled, Certain: true, Counter: reasmReqds, Packets: kept - refused},
			{Kind: CauseDefrag, Certain: true, Counter: reasmFails, Packets: refused},
		}
		return slices.DeleteFunc(causes, func(c Cause) bool { return c.Packets == 0 })
	}
	if from.Family == nf.IPv4 && p.MIB != nil && p.MIB[reasmReqds] == 0 { // no fragment came
		return p.byRule(from, to, lost)
	}
	causes := append([]Cause{{Kind: CauseReassembled}}, p.byRule(from, to, lost)...)
	slices.SortStableFunc(causes, certainFirst)
	return causes
}

func certainFirst(a, b Cause) int {
	switch {
	case a.Certain == b.Certain:
		return 0
	case a.Certain:
		return -1
	}
	return 1
}

// beforeHooks returns the loss between the links and the first probe of prerouting: the packets that the kernel's
// counters account for and, if the packets arriving on the links were counted, the rest.
func (p Path) beforeHooks(f nf.Family, prerouting []Point, left *unaccounted) []Loss {
	if n := p.withoutProbes(f); n > 0 && p.MIB[discards6] >= n {
		return []Loss{{
			Family: f, Hook: nf.Ingress, From: []string{nf.Probe{Name: linkIngress}.Of(f).Name}, To: []string{nf.DefragPrerouting.Of(f).Name}, Lost: n, Of: n,
			Causes: []Cause{{Kind: CauseIPv6Disabled, Certain: true, Counter: discards6, Packets: n}},
		}}
	}
	if len(prerouting) == 0 || prerouting[0].Probe.Priority >= nf.PriorityDefrag {
		return nil
	}
	first := prerouting[0]
	causes, explained := p.counted(f, countersBeforeHooks[f], nil)
	rest := saturatingSub(p.Arrived[f], first.Packets+explained)
	waiting, held := left.held(Loss{Family: f, Lost: rest}, []nf.Hook{nf.Prerouting}, beforeFirst, first.Probe.Priority)
	causes, explained, rest = append(causes, waiting...), explained+held, rest-held
	if rest > 0 {
		var more []Cause
		rest, more = p.atIngress(f, rest)
		causes = append(causes, more...)
	}
	if explained+rest == 0 {
		return nil
	}
	from := nf.Probe{Name: linkIngress}.Of(f).Name
	return []Loss{{
		Family: f, Hook: nf.Ingress, From: []string{from}, To: []string{probeName(first.Probe)},
		Lost: explained + rest, Of: max(p.Arrived[f], first.Packets+explained+rest), Causes: causes,
	}}
}

// linkIngress names the packets that arrived on the links, like a probe. Chains of the netdev family belong here,
// too.
const linkIngress = "link/ingress"

// atIngress returns why packets without a counter did not reach the hooks, and how many were certainly lost. With a
// flowtable, or with links that are ports of others, these are only the packets that a rule or a drop reason accounts
// for.
func (p Path) atIngress(f nf.Family, rest uint64) (uint64, []Cause) {
	causes, explained := p.counted(f, nil, reasonsBeforeHooks)
	if n := min(p.malformed(f), saturatingSub(rest, explained)); n > 0 {
		counter := countersOfHeaders[f].errors.name
		causes, explained = append(causes, Cause{Kind: CauseMalformedHeader, Certain: true, Counter: counter, Packets: n}), explained+n
	}
	if explained >= rest {
		return rest, causes
	}
	rules := p.byRule(nf.Probe{Hook: nf.Ingress, Family: f, Priority: nf.PriorityFirst}, nf.Probe{Priority: nf.PriorityConfirm}, rest-explained)
	early := p.byRule(nf.Probe{Hook: nf.Prerouting, Family: f, Priority: nf.PriorityFirst}, nf.DefragPrerouting, rest-explained)
	if early[0].Rule != (Rule{}) { // before the first probe
		rules = append(early, slices.DeleteFunc(rules, func(c Cause) bool { return c.Rule == (Rule{}) })...)
		slices.SortStableFunc(rules, certainFirst)
	}
	if p.MayBypassHooks {
		rules = slices.DeleteFunc(rules, func(c Cause) bool { return !c.Certain })
		rest = min(rest, explained+packetsOf(rules))
	}
	if rest <= explained {
		return rest, causes
	}
	causes = append(causes, rules...)
	if allCertain := !slices.ContainsFunc(rules, func(c Cause) bool { return !c.Certain }); allCertain {
		return rest, causes
	}
	i := slices.IndexFunc(causes, func(c Cause) bool { return c.Kind == CauseUnknown })
	if i < 0 {
		i = len(causes)
	}
	return rest, slices.Insert(causes, i, p.beforeRules(f)...)
}

// beforeRules returns why the kernel may have dropped packets between the links and the hooks, by itself and without a counter that
// says so for certain (net/ipv4/ip_input.c, ip_rcv_core; net/ipv6/ip6_input.c, ip6_rcv_core).
func (p Path) beforeRules(f nf.Family) (causes []Cause) {
	if p.OtherHosts {
		causes = append(causes, Cause{Kind: CauseOtherHost})
	}
	if p.MIB == nil || p.headerErrors(f) > p.malformed(f) {
		causes = append(causes, Cause{Kind: CauseMalformedHeader})
	}
	return causes
}

// counted returns the causes for which the kernel counted packets of a family, and the number of these packets.
func (p Path) counted(f nf.Family, counters, reasons []evidence) (causes []Cause, packets uint64) {
	add := func(c Cause) {
		if c.Packets > 0 {
			c.Certain = true
			causes, packets = append(causes, c), packets+c.Packets
		}
	}
	for _, e := range counters {
		add(Cause{Kind: e.kind, Counter: e.name, Packets: p.MIB[e.name]})
	}
	for _, e := range reasons {
		add(Cause{Kind: e.kind, Reason: e.name, Packets: p.kernelDrops(f, e.name)})
	}
	return causes, packets
}

// byRule returns why packets were lost between two probes of a hook: the rules that counted or were traced to drop some,
// the most frequent first. If these account for less than the loss, the rules without a counter there are alternatives,
// and so is NAT where it is on. If there are no such rules, it was NAT, or where it is not on, the cause is unknown.
func (p Path) byRule(from, to nf.Probe, lost uint64) []Cause {
	var certain, maybe []Cause
	elsewhere := false // the count of a certain rule may include packets of other places
	for _, d := range p.Drops {
		if d.Hook != from.Hook || d.Priority < from.Priority || d.Priority > to.Priority || !meets(d.Rule, from.Family) {
			continue
		}
		c := Cause{Kind: CauseRule, Rule: d.Rule, Packets: d.dropped(), Traced: d.Traced > 0}
		switch c.Certain = c.Packets > 0; {
		case c.Certain && p.mayCountElsewhere(d, from.Family):
			c.Certain, c.Packets = false, 0
			maybe = append(maybe, c)
		case c.Certain:
			certain = append(certain, c)
			elsewhere = elsewhere || p.isReachedTwice(d)
		case d.mayHaveDropped():
			maybe = append(maybe, c)
		}
	}
	slices.SortStableFunc(certain, func(a, b Cause) int { return cmp.Compare(b.Packets, a.Packets) })
	explained := len(certain) > 0 && packetsOf(certain) >= lost
	switch {
	case explained && !elsewhere:
		return certain
	case len(maybe) > 0 && p.NAT[from.Family] && spansNAT(from, to):
		return append(append(certain, maybe...), Cause{Kind: CauseNAT})
	case len(maybe) > 0:
		return append(certain, maybe...)
	case explained:
		return certain
	case p.Drops == nil && spansNAT(from, to):
		return []Cause{{Kind: CauseRule}, {Kind: CauseNAT}, {Kind: CauseUnknown}}
	case p.Drops == nil:
		return []Cause{{Kind: CauseRule}, {Kind: CauseUnknown}}
	case p.NAT[from.Family] && spansNAT(from, to): // nothing else there drops
		return append(certain, Cause{Kind: CauseNAT, Certain: true, Packets: lost - packetsOf(certain)})
	}
	return append(certain, Cause{Kind: CauseUnknown})
}

// spansNAT reports whether NAT is between two probes of a hook. Packets that are forwarded meet it in prerouting and
// postrouting.
func spansNAT(from, to nf.Probe) bool {
	switch from.Hook {
	case nf.Prerouting, nf.Output:
		return from.Priority < nf.PriorityDNAT && to.Priority > nf.PriorityDNAT
	case nf.Input, nf.Postrouting:
		return from.Priority < nf.PrioritySNAT && to.Priority > nf.PrioritySNAT
	}
	return false
}

// isReachedTwice reports whether the rule of d is reached from another place too, so that its counter counts there as
// well. What was traced is known by place.
func (p Path) isReachedTwice(d Drop) bool {
	n := 0
	for _, other := range p.Drops {
		if other.Rule == d.Rule {
			n++
		}
	}
	return n > 1 && d.Traced == 0
}

// mayCountElsewhere reports whether what the rule of d has counted may have been lost at another place from which the rule is
// reached, or of the other family: there was a loss, too, and the rule has not counted enough for all of them.
func (p Path) mayCountElsewhere(d Drop, f nf.Family) bool {
	if d.Traced > 0 {
		return false
	}
	elsewhere, all := false, uint64(0)
	for _, other := range p.Drops {
		if other.Rule != d.Rule {
			continue
		}
		for _, family := range nf.Families() {
			if !meets(d.Rule, family) {
				continue
			}
			n := p.lostAround(family, other.Hook, other.Priority)
			all += n
			elsewhere = elsewhere || n > 0 && (family != f || other.Hook != d.Hook || other.Priority != d.Priority)
		}
	}
	return elsewhere && d.Rule.Packets < all
}

// lostAround returns the number of packets of a family that were lost between the probes around a priority of a hook, or on
// links, where no probe is.
func (p Path) lostAround(f nf.Family, h nf.Hook, priority int32) (n uint64) {
	switch h {
	case nf.Ingress:
		return p.lostBeforeHooks(f)
	case nf.Egress:
		return p.EgressDropped[f]
	}
	points := p.at(f, h)
	for i := 1; i < len(points); i++ {
		if from, to := points[i-1], points[i]; from.Probe.Priority <= priority && priority <= to.Probe.Priority && !to.Probe.BehindConfirm() {
			n += saturatingSub(from.Packets, to.Packets)
		}
	}
	if priority == nf.PriorityConfirm {
		for _, at := range points {
			n += p.droppedLast(at)
		}
	}
	return n
}

// packetsOf returns the number of packets that causes account for.
func packetsOf(causes []Cause) (n uint64) {
	for _, c := range causes {
		n += c.Packets
	}
	return n
}

// meets reports whether a rule sees packets of a family.
func meets(r Rule, f nf.Family) bool {
	switch r.Family {
	case "ip":
		return f == nf.IPv4
	case "ip6":
		return f == nf.IPv6
	}
	return r.Family == "inet" || r.Family == "netdev"
}

// unpassed returns why packets that met the probe before the confirmation were dropped there.
func (p Path) unpassed(confirm nf.Probe, lost uint64) []Cause {
	ofFamily, ofAll := uint64(0), uint64(0) // what was dropped so in all hooks
	for _, at := range p.Points {
		n := p.droppedLast(at)
		if ofAll += n; at.Probe.Family == confirm.Family {
			ofFamily += n
		}
	}
	var causes, maybe []Cause
	counted := func(c Cause, n, places uint64) { // n packets have the cause in several places, of which this is one
		c.Packets = saturatingSub(n, places-lost)
		switch c.Certain = c.Packets > 0; {
		case c.Certain:
			causes = append(causes, c)
		case n > 0:
			maybe = append(maybe, Cause{Kind: c.Kind, Logged: c.Logged})
		}
	}
	counted(Cause{Kind: CauseInsertFailed, Counter: "insert_failed"}, p.InsertFailed, ofAll)
	helper, refused := Cause{Kind: CauseHelper}, uint64(0)
	for _, h := range p.HelperDrops {
		if h.Family == confirm.Family {
			helper.Logged, refused = append(helper.Logged, h), refused+h.Packets
		}
	}
	counted(helper, refused, ofFamily)
	rest := saturatingSub(lost, packetsOf(causes))
	if rest == 0 {
		return causes
	}
	rules := p.byRule(confirm, confirm, rest)
	if p.HelpersUntold && packetsOf(rules) < rest {
		maybe = append(maybe, Cause{Kind: CauseHelper})
	}
	causes = slices.Concat(causes, rules, maybe)
	slices.SortStableFunc(causes, certainFirst)
	return causes
}

// unconfirmed returns why lost packets of a family had no entry after the confirmation, and continued.
func (p Path) unconfirmed(f nf.Family, lost uint64) []Cause {
	var causes []Cause
	for _, c := range []Cause{
		{Kind: CauseInvalid, Counter: "invalid", Packets: p.Invalid},
		{Kind: CauseICMPError, Counter: "error", Packets: p.ICMPErrors},
	} {
		if p.Reasons != nil {
			var others uint64 // the counter includes both families
			c.Logged, others = p.logged(f, c.Kind)
			c.Packets = saturatingSub(c.Packets, others)
		}
		if c.Certain = c.Packets > 0; c.Certain {
			causes = append(causes, c)
		}
	}
	if packetsOf(causes) < lost {
		causes = append(causes, Cause{Kind: CauseUntracked})
	}
	return causes
}

// logged returns what conntrack logged about packets of a family that it counts as invalid, or as invalid ICMP
// packets (net/netfilter/nf_conntrack_core.c, nf_conntrack_in: the counters "invalid" and "error"), and how many
// packets of the other family it logged.
func (p Path) logged(f nf.Family, kind CauseKind) (reasons []ReasonCount, others uint64) {
	reasons = []ReasonCount{}
	for _, s := range p.Reasons {
		icmp := s.Proto == nf.ICMP || s.Proto == nf.ICMPv6
		switch {
		case s.passed() || icmp != (kind == CauseICMPError):
		case s.Family == f || s.Family == 0:
			reasons = append(reasons, s)
		default:
			others += s.Packets
		}
	}
	return reasons, others
}
