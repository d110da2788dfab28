package ctexp

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
)

// Fate is what became of one packet.
type Fate struct {
	Frame packet.Record
	// State is what conntrack made of it: "NEW SYN_SENT", "INVALID", "no entry", "of a known flow"; empty if that is not
	// known.
	State string
	// Invalid says that conntrack called it INVALID, NoEntry that the table has no entry for it.
	Invalid, NoEntry bool
	// Reasons has what conntrack said about it.
	Reasons []observe.Reason
	// Steps are the rules that it met, if the namespace is traced.
	Steps []observe.Step
	// Lost says that it is known to have been dropped. A packet that is not Lost went on, or nothing is known of it.
	Lost bool
	// Causes are why it was lost: the one cause if there is one, else one of them. Nil if nothing is known.
	Causes []observe.Cause
	// Places are the losses of the path of which it is one: the place where it was lost if there is one, else one of them.
	// Nil if the place is not known.
	Places []observe.Loss
}

// Why prints what conntrack said about the packet and why it was lost: "SEQ is over upper bound 66537 (over the window of
// the receiver); dropped by nft ip filter input: ct state invalid drop".
func (f Fate) Why() string {
	var why []string
	for _, r := range f.Reasons {
		why = append(why, r.Text)
	}
	if f.Lost {
		why = append(why, f.causes())
	}
	return strings.Join(slices.DeleteFunc(why, func(s string) bool { return s == "" }), "; ")
}

// causes prints why the packet was lost.
func (f Fate) causes() string {
	const few = 160 // bytes
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
	case len(why) <= few:
		return "one of: " + why
	}
	return fmt.Sprintf("behind %s, one of several causes: see the path", strings.Join(l.From, " and "))
}

// String prints state and fate, "dropped; no entry; conntrack table full", as in the capture of a report. It is empty if
// nothing is known.
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

// Fates returns what became of each captured packet since the Lab was opened, in the order of Frames: as far as events,
// reasons, rules, counters and the table tell for certain.
func (l *Lab) Fates(ctx context.Context) ([]Fate, error) {
	k := l.look(ctx)
	if err := k.recordErr; err != nil {
		return nil, fmt.Errorf("fates: %w", err)
	}
	return k.fates(), nil
}

// Fates returns what became of each captured packet since New; see Lab.Fates.
func (x *Experiment) Fates() []Fate {
	x.t.Helper()
	return ask(x, "Fates", x.Lab.Fates)
}

// The States of a Fate that are no state of an entry.
const (
	stateInvalid   = "INVALID"
	stateNoEntry   = "no entry"
	stateKnownFlow = "of a known flow"
)

// judge works out the fates of packets.
type judge struct {
	look
	fates   []Fate
	entryOf map[nf.Tuple]nf.Entry
}

// fates returns the fate of each frame of the record.
func (k look) fates() []Fate {
	j := judge{look: k, fates: make([]Fate, len(k.record.Frames)), entryOf: entriesByTuple(k)}
	r := k.record
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
			f.State = j.stateOf(frame)
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
		j.fates[i] = f
	}
	j.fullTable()
	if k.pathErr == nil && k.lacks(observe.PartFrames) == nil {
		for _, f := range nf.Families() {
			j.losses(f)
		}
	}
	for i, f := range j.fates {
		if f.Lost && f.Causes == nil && i < len(ofDrops) && len(ofDrops[i]) > 0 {
			j.fates[i].Causes = []observe.Cause{observe.CauseOf(ofDrops[i][0])}
		}
	}
	return j.fates
}

// stateOf returns the state of a packet that has changed nothing: that of its entry, if there is one.
func (j *judge) stateOf(f packet.Record) string {
	t := f.Tuple()
	if t == (nf.Tuple{}) {
		return ""
	}
	e, known := j.entryOf[t]
	switch {
	case !known:
		return stateNoEntry
	case e.Orig == (nf.Tuple{}): // it is gone
		return ""
	case t.Proto == nf.TCP:
		return e.State.String()
	}
	return stateKnownFlow
}

// entriesByTuple returns the entries by both of their tuples, those that have left as zero entries.
func entriesByTuple(k look) map[nf.Tuple]nf.Entry {
	entries := map[nf.Tuple]nf.Entry{}
	for _, e := range k.record.Events {
		entries[e.Entry.Orig], entries[e.Entry.Reply] = nf.Entry{}, nf.Entry{}
	}
	for _, e := range k.flows {
		entries[e.Orig], entries[e.Reply] = e, e
	}
	return entries
}

// lose notes that a packet was lost. What is already known of its causes is known better.
func (j *judge) lose(frame int, causes []observe.Cause, places ...observe.Loss) {
	f := &j.fates[frame]
	f.Lost = true
	if f.Causes == nil && f.Places == nil {
		f.Causes, f.Places = causes, places
	}
}

// fullTable explains the packets without an entry by the full table, if there are as many of them as it has dropped.
func (j *judge) fullTable() {
	var without []int
	for i, f := range j.fates {
		if f.NoEntry && f.Why() == "" {
			without = append(without, i)
		}
	}
	if j.tally.Dropped == 0 || uint64(len(without)) != j.tally.Dropped {
		return
	}
	for _, i := range without {
		j.lose(i, []observe.Cause{{Kind: observe.CauseTableFull, Certain: true, Packets: 1}})
	}
}

// losses explains packets of a family that came in by the losses of the path, where that is certain.
func (j *judge) losses(f nf.Family) {
	var came []int
	for i, fate := range j.fates {
		if fate.Frame.Dir == packet.In && fate.Frame.Family() == f {
			came = append(came, i)
		}
	}
	var losses []observe.Loss // on the way of what comes in
	var unconfirmed uint64
	for _, l := range j.path.Losses() {
		switch {
		case l.Family != f:
		case l.Unconfirmed:
			unconfirmed += l.Lost
		case ofIncoming(l):
			losses = append(losses, l)
		}
	}
	known := j.malformed(f, came)
	if len(losses) == 1 && losses[0].Lost == uint64(len(came)) {
		for _, i := range came {
			j.lose(i, losses[0].Causes, losses[0])
		}
		return
	}
	j.withoutEntry(f, came, losses, unconfirmed, known)
}

// ofIncoming reports whether a loss is one of packets that came in, and of no others: what the host sends meets neither
// these hooks nor the links. Reassembly is no loss of the fragments.
func ofIncoming(l observe.Loss) bool {
	return l.Hook != nf.Output && l.Hook != nf.Postrouting && len(l.From) == 1 &&
		!slices.ContainsFunc(l.Causes, func(c observe.Cause) bool { return c.Kind == observe.CauseReassembled })
}

// withoutEntry explains the packets without an entry, if they are as many as were lost: one that has gone on has an entry,
// or is INVALID and counted at the confirmation. Others that have gone on without one, untracked ones, leave it open. known
// is how many met no hook because of their headers.
func (j *judge) withoutEntry(f nf.Family, came []int, losses []observe.Loss, unconfirmed, known uint64) {
	var without, invalid []int
	var lost, before uint64
	for _, i := range came {
		switch f := j.fates[i]; {
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
	passed := j.path.InvalidPassed[f]
	if passed == 0 {
		without, invalid = append(without, invalid...), nil
	}
	if j.lacks(observe.PartEvents) != nil || unconfirmed != passed || passed != uint64(len(invalid)) || lost != known+before+uint64(len(without)) {
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
		j.lose(i, causes, losses...)
	}
}

// malformed explains the packets that the kernel has not accepted because of their headers, if it has counted as many, and
// returns how many they are.
func (j *judge) malformed(f nf.Family, came []int) (known uint64) {
	kinds := []struct {
		counter string
		kind    observe.CauseKind
		is      func([]byte) bool
	}{
		{"IpExtInCsumErrors", observe.CauseHeaderChecksum, isBadSum}, // looked at first (net/ipv4/ip_input.c, ip_rcv_core)
		{"IpExtInTruncatedPkts", observe.CauseTruncated, isTruncated},
	}
	if f == nf.IPv6 {
		kinds = kinds[1:]
		kinds[0].counter = "Ip6InTruncatedPkts"
	}
	for _, k := range kinds {
		var some []int
		for _, i := range came {
			if !j.fates[i].Lost && k.is(j.fates[i].Frame.Packet) {
				some = append(some, i)
			}
		}
		if uint64(len(some)) != j.path.MIB[k.counter] {
			continue
		}
		for _, i := range some {
			j.fates[i].State, j.fates[i].NoEntry = "", false // conntrack has not seen it
			j.lose(i, []observe.Cause{{Kind: k.kind, Certain: true, Packets: 1}})
		}
		known += uint64(len(some))
	}
	return known
}
func isTruncated(p []byte) bool { return header.Parse(p).Length > len(p) }

// isBadSum reports whether the checksum of an IPv4 header is wrong.
func isBadSum(p []byte) bool {
	v := header.Parse(p)
	return v.Version == 4 && v.HasHeader() && !header.IsHeaderSumRight(p)
}
