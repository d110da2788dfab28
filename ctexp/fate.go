package ctexp

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
)

// Fate is what became of one packet.
type Fate struct {
	// Frame is the captured packet.
	Frame packet.Record
	// State is conntrack's view of the packet: "NEW SYN_SENT", "INVALID", "no entry", "of a known flow"; empty if unknown.
	State string
	// Invalid reports that conntrack classified the packet as INVALID, NoEntry that the table has no entry for it.
	Invalid, NoEntry bool
	// Reasons are conntrack's log messages about the packet.
	Reasons []observe.Reason
	// Steps are the rules that the packet met, if the namespace is traced.
	Steps []observe.Step
	// Lost reports that the packet is known to have been dropped. If it is false, the packet went on or its fate is unknown.
	Lost bool
	// Held reports that the packet waits in a queue (NFQUEUE) and is not lost. Causes has the queue.
	Held bool
	// Causes has the cause of the loss; if there are several, it was one of them. Nil if unknown.
	Causes []observe.Cause
	// Places has the loss of the path that the packet belongs to; if there are several, it belongs to one of them. Nil if the
	// place is unknown.
	Places []observe.Loss
}

// Why returns conntrack's messages about the packet and why it was lost: "SEQ is over upper bound 66537 (over the window of
// the receiver); dropped by nft ip filter input: ct state invalid drop".
func (f Fate) Why() string {
	var why []string
	for _, r := range f.Reasons {
		why = append(why, r.Text)
	}
	if f.Lost || f.Held {
		why = append(why, f.causes())
	}
	return strings.Join(slices.DeleteFunc(why, func(s string) bool { return s == "" }), "; ")
}

// causes returns why the packet was lost.
func (f Fate) causes() string {
	const maxLength = 160 // bytes
	switch len(f.Places) {
	case 0:
		var s []string
		for _, c := range f.Causes {
			s = append(s, c.String())
		}
		return strings.Join(s, "; ")
	case 1:
	default:
		return fmt.Sprintf("at one of %d places: see the path", len(f.Places))
	}
	l := f.Places[0]
	certain := len(slices.DeleteFunc(slices.Clone(l.Causes), func(c observe.Cause) bool { return !c.Certain }))
	switch why := l.Why(); {
	case len(l.Causes) == 1 || certain == 0:
		return why
	case len(why) <= maxLength:
		return "one of: " + why
	}
	return fmt.Sprintf("after %s, one of several causes: see the path", strings.Join(l.From, " and "))
}

// String returns the fate, the state and the causes, "dropped; no entry; conntrack table full", as in the capture of a
// report. It is empty if nothing is known.
func (f Fate) String() string {
	var s []string
	if f.Lost {
		s = append(s, "dropped")
	}
	for _, word := range []string{f.State, f.Why()} {
		if word != "" {
			s = append(s, word)
		}
	}
	return strings.Join(s, "; ")
}

// Fates returns what became of each packet captured since the Lab was opened, in the order of Frames. It uses events,
// reasons, rules, counters and the table, and leaves unknown what they do not prove. Of a packet that was captured at a link and
// at a device over it (netnsenv.Device), such as a bridge, there is one fate, that at the device: conntrack sees it there.
func (l *Lab) Fates(ctx context.Context) ([]Fate, error) {
	snap := l.snapshot(ctx)
	if err := snap.recordErr; err != nil {
		return nil, fmt.Errorf("fates: %w", err)
	}
	if err := snap.record.Lacks(observe.PartFrames); err != nil {
		return nil, fmt.Errorf("fates: %w", err)
	}
	return snap.fatesOnce(), nil
}

// fatesOnce is fates without the frames that passing reports.
func (snap snapshot) fatesOnce() []Fate {
	all, passes := snap.fates(), passing(snap.record.Frames, snap.cfg)
	return slices.DeleteFunc(all, func(Fate) bool {
		here := passes[0]
		passes = passes[1:]
		return here
	})
}

// passing reports which frames were captured at a device over their link as well, on the way there or from there.
func passing(frames []packet.Record, cfg netnsenv.Config) []bool {
	type at struct {
		link   string
		packet string
	}
	passes := make([]bool, len(frames))
	over := map[string][]string{}
	for _, dir := range []packet.Dir{packet.In, packet.Out} {
		captured := map[at]int{} // at devices, and not found at what is below them
		look := func(i int, f packet.Record) {
			if _, known := over[f.Link]; !known {
				over[f.Link] = cfg.Over(f.Link)
			}
			for _, device := range over[f.Link] {
				if k := (at{device, string(f.Packet)}); captured[k] > 0 {
					captured[k]--
					passes[i] = true
					break
				}
			}
			captured[at{f.Link, string(f.Packet)}]++
		}
		if len(cfg.Devices) == 0 {
			break
		}
		// A packet that leaves is at the device first, one that comes is there last.
		order := slices.All(frames)
		if dir == packet.In {
			order = slices.Backward(frames)
		}
		for i, f := range order {
			if f.Dir == dir {
				look(i, f)
			}
		}
	}
	return passes
}

// Fates returns what became of each captured packet since New; see Lab.Fates.
func (x *Experiment) Fates() []Fate {
	x.t.Helper()
	return proven(x, "Fates", ask(x, "Fates", x.Lab.Fates))
}

// Values of Fate.State that are not states of an entry.
const (
	stateInvalid   = "INVALID"
	stateNoEntry   = "no entry"
	stateKnownFlow = "of a known flow"
)

// explainer determines the fates of packets.
type explainer struct {
	snapshot
	fates   []Fate
	entryOf map[nf.Tuple]*nf.Entry
	passes  []bool         // by frame; see passing
	losses  []observe.Loss // of the path
}

// fates returns the fate of each frame of the record.
func (snap snapshot) fates() []Fate {
	e := explainer{snapshot: snap, fates: make([]Fate, len(snap.record.Frames)), entryOf: entriesByTuple(snap), passes: passing(snap.record.Frames, snap.cfg), losses: snap.path.Losses()}
	r := snap.record
	ofEvents, _ := observe.EventsOf(r.Frames, r.Events)
	ofReasons, _ := observe.ReasonsOf(r.Frames, r.Reasons)
	ofUnexplained, _ := observe.ReasonsOf(r.Frames, r.Unexplained)
	ofSteps, _ := observe.StepsOf(r.Frames, r.Steps)
	ofDrops, _ := observe.DropsOf(r.Frames, r.Drops)
	for i, frame := range r.Frames {
		f := Fate{Frame: frame, Reasons: slices.Concat(ofReasons[i], ofUnexplained[i]), Steps: ofSteps[i]}
		f.Invalid = slices.ContainsFunc(f.Reasons, func(r observe.Reason) bool { return !r.Passed() })
		switch {
		case f.Invalid:
			f.State = stateInvalid
		case len(ofEvents[i]) > 0:
			f.State = ofEvents[i][0].Short()
		case frame.Dir == packet.In:
			f.State = e.stateOf(frame)
			f.NoEntry = f.State == stateNoEntry
		}
		for _, s := range f.Steps {
			if s.Dropped() {
				f.Lost, f.Causes = true, append(f.Causes, s.Cause())
			}
		}
		for _, d := range ofDrops[i] {
			f.Lost = true
			if c := observe.CauseOf(d); c.Certain {
				f.Causes = append(f.Causes, c)
			}
		}
		e.fates[i] = f
	}
	if r.Cut(observe.PartFrames) == nil {
		e.fullTable()
	} else if snap.pathErr == nil {
		for _, f := range nf.Families() {
			e.loseAll(f)
		}
	}
	if snap.pathErr == nil && snap.lacks(observe.PartFrames) == nil {
		for _, f := range nf.Families() {
			e.explainLosses(f)
		}
		e.onLinks()
	}
	for i, f := range e.fates {
		if f.Lost && f.Causes == nil && i < len(ofDrops) && len(ofDrops[i]) > 0 {
			e.fates[i].Causes = []observe.Cause{observe.CauseOf(ofDrops[i][0])}
		}
	}
	return e.fates
}

// stateOf returns the state of a packet without events: that of its entry, if there is one.
func (e *explainer) stateOf(f packet.Record) string {
	t := f.Tuple()
	if t == (nf.Tuple{}) {
		return ""
	}
	entry, known := e.entryOf[t]
	switch {
	case !known && (e.isPartial() || e.record.Cut(observe.PartEvents) != nil):
		return "" // its entry may be among the others
	case !known:
		return stateNoEntry
	case entry == nil: // destroyed meanwhile
		return ""
	case t.Proto == nf.TCP:
		return entry.State.String()
	}
	return stateKnownFlow
}

// entriesByTuple returns the entries by both of their tuples; nil for those destroyed meanwhile.
func entriesByTuple(snap snapshot) map[nf.Tuple]*nf.Entry {
	entries := map[nf.Tuple]*nf.Entry{}
	for i := range snap.record.Events {
		e := &snap.record.Events[i].Entry
		entries[e.Orig], entries[e.Reply] = nil, nil
	}
	for i := range snap.flows {
		e := &snap.flows[i]
		entries[e.Orig], entries[e.Reply] = e, e
	}
	return entries
}

// lose marks a packet as lost, or as held if it waits in a queue. Causes that are already known are kept: they are more certain.
func (e *explainer) lose(frame int, causes []observe.Cause, places ...observe.Loss) {
	f := &e.fates[frame]
	if observe.OnlyHeld(causes) {
		f.Held = !f.Lost
	} else {
		f.Lost = true
	}
	if f.Causes == nil && f.Places == nil {
		f.Causes, f.Places = causes, places
	}
}

// fullTable explains the packets without an entry by a full table, if their number is that of the table's drops, and as far as is known
// none was lost elsewhere: a packet that the table refused may have an entry by another of its flow. The
// counter also has packets whose entry could not be inserted at the confirmation.
func (e *explainer) fullTable() {
	var without []int
	for i, f := range e.fates {
		if f.NoEntry && f.Why() == "" && !e.passes[i] {
			without = append(without, i)
		}
	}
	if e.tally.Dropped == 0 || e.tally.InsertFailed > 0 || uint64(len(without)) != e.tally.Dropped || e.isLostElsewhere() {
		return
	}
	for _, i := range without {
		e.lose(i, []observe.Cause{{Kind: observe.CauseTableFull, Certain: true, Packets: 1}})
	}
}

// isLostElsewhere reports whether packets without an entry were lost for another cause than a full table.
func (e *explainer) isLostElsewhere() bool {
	if e.pathErr != nil {
		return false // not known
	}
	return slices.ContainsFunc(e.losses, func(l observe.Loss) bool {
		return beforeEntry(l) && slices.ContainsFunc(l.Causes, func(c observe.Cause) bool { return c.Kind != observe.CauseTableFull })
	})
}

// explainLosses explains incoming packets of a family by the losses of the path, where that is certain.
func (e *explainer) explainLosses(f nf.Family) {
	came := e.came(f)
	known := e.malformed(f, came)
	if e.loseAll(f) {
		return
	}
	e.withoutEntry(f, came, known)
}

// came returns the incoming packets of a family.
func (e *explainer) came(f nf.Family) (came []int) {
	for i, fate := range e.fates {
		if fate.Frame.Dir == packet.In && fate.Frame.Family() == f && !e.passes[i] {
			came = append(came, i)
		}
	}
	return came
}

// loseAll explains the incoming packets of a family if all of them were lost at one place.
func (e *explainer) loseAll(f nf.Family) bool {
	losses := e.lossesOf(f, ofIncoming)
	if len(losses) != 1 || losses[0].Lost != uint64(e.record.Incoming(f)) {
		return false
	}
	for _, i := range e.came(f) {
		e.lose(i, losses[0].Causes, losses[0])
	}
	return true
}

// lossesOf returns the losses of packets of a family on the path that are of a kind.
func (e *explainer) lossesOf(f nf.Family, is func(observe.Loss) bool) (losses []observe.Loss) {
	for _, l := range e.losses {
		if l.Family == f && is(l) {
			losses = append(losses, l)
		}
	}
	return losses
}

// onLinks explains the packets that links dropped on the way out after they were captured there, if these are all that left
// by the link.
func (e *explainer) onLinks() {
	for _, l := range e.losses {
		for _, c := range l.Causes {
			if c.Kind != observe.CauseFarEnd {
				continue
			}
			var left []int
			for i, f := range e.fates {
				if f.Frame.Dir == packet.Out && f.Frame.Link == c.Link {
					left = append(left, i)
				}
			}
			if uint64(len(left)) == c.Packets {
				for _, i := range left {
					e.lose(i, []observe.Cause{c}, l)
				}
			}
		}
	}
}

// ofIncoming reports whether a loss can only be one of incoming packets: those of the host itself meet neither these hooks
// nor the links. Reassembly does not lose fragments.
func ofIncoming(l observe.Loss) bool {
	return !l.Unconfirmed && !l.IsBehindHooks() && l.Hook != nf.Output && l.Hook != nf.Postrouting && len(l.From) == 1 &&
		!slices.ContainsFunc(l.Causes, func(c observe.Cause) bool { return c.Kind == observe.CauseReassembled })
}

// beforeEntry reports whether a loss can be one of incoming packets before they have an entry. Forwarded ones also meet postrouting,
// and where fragments may have been reassembled, a rule may have dropped others.
func beforeEntry(l observe.Loss) bool {
	return !l.Unconfirmed && !l.IsBehindHooks() && l.Hook != nf.Output &&
		!slices.ContainsFunc(l.Causes, func(c observe.Cause) bool { return c.Kind == observe.CauseReassembled && c.Certain })
}

// withoutEntry explains the packets without an entry, if their number is that of the losses. A packet that was not lost has
// an entry, or is INVALID and counted at the confirmation; other packets without an entry, such as untracked ones, make
// the numbers differ, and nothing is concluded. known is the number of packets that met no hook because of their headers.
func (e *explainer) withoutEntry(f nf.Family, came []int, known uint64) {
	losses := e.lossesOf(f, beforeEntry)
	var unconfirmed uint64
	for _, l := range e.lossesOf(f, func(l observe.Loss) bool { return l.Unconfirmed }) {
		unconfirmed += l.Lost
	}
	var without, invalid []int
	var lost, before uint64
	for _, i := range came {
		switch f := e.fates[i]; {
		case !f.NoEntry && !f.Invalid:
		case f.Lost:
			before++
		case f.Invalid:
			invalid = append(invalid, i)
		default:
			without = append(without, i)
		}
	}
	for _, l := range losses {
		lost += l.Lost
	}
	passed := e.path.InvalidPassed[f]
	if passed == 0 {
		without, invalid = append(without, invalid...), nil
	}
	if e.lacks(observe.PartEvents) != nil || unconfirmed != passed || passed != uint64(len(invalid)) || lost != known+before+uint64(len(without)) {
		return
	}
	if len(losses) > 0 && losses[0].Hook == nf.Ingress && losses[0].Lost == known {
		losses = losses[1:]
	}
	var causes []observe.Cause
	for _, l := range losses {
		causes = append(causes, l.Causes...)
	}
	for _, i := range without {
		e.lose(i, causes, losses...)
	}
}

// malformed explains the packets that the kernel has refused because of their headers, if it has counted as many, and
// returns their number.
func (e *explainer) malformed(f nf.Family, came []int) (known uint64) {
	kinds := []struct {
		counter string
		kind    observe.CauseKind
		is      func([]byte) bool
	}{
		{"IpExtInCsumErrors", observe.CauseHeaderChecksum, isBadSum}, // checked first (net/ipv4/ip_input.c, ip_rcv_core)
		{"IpExtInTruncatedPkts", observe.CauseTruncated, isTruncated},
	}
	if f == nf.IPv6 {
		kinds = kinds[1:]
		kinds[0].counter = "Ip6InTruncatedPkts"
	}
	for _, k := range kinds {
		var some []int
		for _, i := range came {
			if !e.fates[i].Lost && k.is(e.fates[i].Frame.Packet) {
				some = append(some, i)
			}
		}
		if uint64(len(some)) != e.path.MIB[k.counter] {
			continue
		}
		for _, i := range some {
			e.fates[i].State, e.fates[i].NoEntry = "", false // conntrack has not seen it
			e.lose(i, []observe.Cause{{Kind: k.kind, Certain: true, Packets: 1}})
		}
		known += uint64(len(some))
	}
	return known
}

// isTruncated reports whether a packet is shorter than its header claims.
func isTruncated(p []byte) bool { return header.Parse(p).Length > len(p) }

// isBadSum reports whether the checksum of an IPv4 header is wrong.
func isBadSum(p []byte) bool {
	v := header.Parse(p)
	return v.Version == 4 && v.HasHeader() && !header.IsHeaderSumRight(p)
}
