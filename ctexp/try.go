package ctexp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// Trial is a packet to be tried.
type Trial struct {
	// Link is the link on which the packet comes in. Empty: the one that its source is behind, as in Lab.States, or, if the
	// source is an address of the Env's host or of lo, none: the host itself sends the packet from a raw socket.
	Link   string
	Packet packet.Packet // as it comes in
}

// Verdict is what the host did with a packet, in one word.
type Verdict uint8

// The verdicts. Who asks whether a firewall drops a packet must not take for it that there is no route: that is VerdictLost.
const (
	VerdictAccept Verdict = iota // it was delivered to the host or has left it
	VerdictDrop                  // a rule, a policy, conntrack or NAT dropped it
	VerdictReject                // a rule dropped it, and the host has answered
	VerdictLost                  // it was lost for another reason than rules: no route, a wrong checksum, the hop limit
	VerdictHeld                  // it waits in a queue (NFQUEUE), or for the other fragments
)

// String returns "accept", "drop", "reject", "lost" or "held".
func (v Verdict) String() string {
	return [...]string{"accept", "drop", "reject", "lost", "held"}[v]
}

// Verdict returns what the host did with the packet itself.
func (o Outcome) Verdict() Verdict {
	var l observe.Loss
	switch i := slices.IndexFunc(o.Losses, o.ofPacket); {
	case i < 0 && o.traceDrops():
		return o.dropped()
	case i < 0 && o.Gone:
		return VerdictLost
	case i < 0:
		return VerdictAccept
	default:
		l = o.Losses[i]
	}
	waits := func(c observe.Cause) bool { return c.Kind == observe.CauseReassembled && c.Certain }
	switch {
	case l.Held(), slices.ContainsFunc(l.Causes, waits):
		return VerdictHeld
	case o.traceDrops():
		return o.dropped()
	case l.Hook == nf.Ingress && o.hasPassed(), isOnEgress(l) && o.hasPassedWhole(): // by a rule that forwards it on the spot
		return VerdictAccept
	case byNetfilter(l):
		return o.dropped()
	}
	return VerdictLost
}

// hasPassed reports whether the packet itself has left.
func (o Outcome) hasPassed() bool {
	return slices.ContainsFunc(o.Out, func(s Sent) bool { return s.Passed })
}

// hasPassedWhole reports whether the packet itself has left in one piece: of several, others may have been lost.
func (o Outcome) hasPassedWhole() bool {
	return slices.ContainsFunc(o.Out, func(s Sent) bool { return s.Passed && !header.Parse(s.Packet).IsFragment() })
}

// ofPacket reports whether a loss is that of the packet, and not of what the host has answered.
func (o Outcome) ofPacket(l observe.Loss) bool {
	return o.FromHost || l.Hook != nf.Output && (l.Hook != nf.Postrouting || slices.Contains(o.Hooks, nf.Forward))
}

// traceDrops reports whether a rule dropped the packet according to its trace.
func (o Outcome) traceDrops() bool { return slices.ContainsFunc(o.Fate.Steps, observe.Step.Dropped) }

// dropped returns VerdictReject if the host has answered the packet that it dropped.
func (o Outcome) dropped() Verdict {
	if o.Silenced > 0 || slices.ContainsFunc(o.Out, func(s Sent) bool { return !s.Passed }) {
		return VerdictReject
	}
	return VerdictDrop
}

// byNetfilter reports whether certainly a rule, conntrack or NAT dropped the packets of a loss: nothing else does between two
// probes of one hook.
func byNetfilter(l observe.Loss) bool {
	kinds := []observe.CauseKind{observe.CauseRule, observe.CauseTableFull, observe.CauseNAT, observe.CauseHelper, observe.CauseInsertFailed}
	if slices.ContainsFunc(l.Causes, func(c observe.Cause) bool { return c.Certain && slices.Contains(kinds, c.Kind) }) {
		return true
	}
	if isOnEgress(l) { // there is nothing but rules, unless it is known that none of them drops: one has forwarded it
		return slices.ContainsFunc(l.Causes, func(c observe.Cause) bool { return c.Kind == observe.CauseRule })
	}
	if !isUntold(l) {
		return false
	}
	if l.Hook == nf.Ingress { // before the hooks: the causes are rules, or what the packet itself has
		return slices.ContainsFunc(l.Causes, func(c observe.Cause) bool { return c.Kind == observe.CauseRule && c.Rule != (observe.Rule{}) })
	}
	return isWithin(l)
}

// isOnEgress reports whether something took the packets of a loss on their way out that no counter tells: a rule at the hook egress.
func isOnEgress(l observe.Loss) bool {
	return l.IsBehindHooks() && isUntold(l)
}

// isAtIngress reports whether a loss is one before the hooks that no counter tells.
func isAtIngress(l observe.Loss) bool { return l.Hook == nf.Ingress && isUntold(l) }

// isUntold reports whether no cause of a loss is certain.
func isUntold(l observe.Loss) bool {
	return !slices.ContainsFunc(l.Causes, func(c observe.Cause) bool { return c.Certain })
}

// isWithin reports whether both probes of a loss are in one hook, between which there is nothing but rules, conntrack and NAT.
func isWithin(l observe.Loss) bool {
	for _, p := range nf.PathProbes(l.Family) {
		if slices.Contains(l.To, p.Name) {
			return p.Hook == l.Hook
		}
	}
	return false
}

// Left returns the packets of Out as which the packet itself has left: with its fields, in other fragments than it came, or, as a
// helper of NAT makes them, with another payload. Nil if it did not leave.
func (o Outcome) Left() (left []Sent) {
	for _, s := range o.Out {
		if s.Passed {
			left = append(left, s)
		}
	}
	if left == nil && o.Verdict() == VerdictAccept && !slices.Contains(o.Hooks, nf.Input) {
		return o.Out
	}
	return left
}

// Try sends packets one after the other and returns what became of each. It takes what is unread in the Inbox. Outcomes tell the
// rules that packets met if the Env has Config.Trace, and their class if it has Config.Classes. A Path is needed: the Config must
// not have NoPath.
func (l *Lab) Try(ctx context.Context, trials ...Trial) ([]Outcome, error) {
	outcomes := make([]Outcome, 0, len(trials))
	if _, err := l.Inbox.Received(ctx); err != nil { // what was sent earlier belongs to none of the trials
		return nil, err
	}
	before := l.snapshot(ctx)
	for i, t := range trials {
		fromHost, err := l.sendTrial(ctx, t)
		if err != nil {
			return outcomes, numbered(err, i+1)
		}
		after := l.snapshot(ctx)
		o, err := l.outcome(ctx, t.Packet, fromHost, after.since(before))
		if err != nil {
			return outcomes, fmt.Errorf("packet %d: %w", i+1, err)
		}
		outcomes = append(outcomes, o)
		before = after
	}
	return outcomes, nil
}

// TryQuickly is Try without what takes time: it does not read rules, traces, events and entries. An Outcome then has the
// hooks, the losses without the rules (but of ingress), and what left; its Fate has only the Frame. A millisecond a packet instead of twenty.
func (l *Lab) TryQuickly(ctx context.Context, trials ...Trial) ([]Outcome, error) {
	outcomes := make([]Outcome, 0, len(trials))
	if _, err := l.Inbox.Received(ctx); err != nil {
		return nil, err
	}
	before, err := l.Observer.PathCounts(ctx)
	if err != nil {
		return nil, err
	}
	for i, t := range trials {
		fromHost, err := l.sendTrial(ctx, t)
		if err != nil {
			return outcomes, numbered(err, i+1)
		}
		after, err := l.Observer.PathCounts(ctx)
		if err != nil {
			return outcomes, numbered(err, i+1)
		}
		o := outcomeOf(after.Sub(before))
		if slices.ContainsFunc(o.Losses, isAtIngress) { // only the rules tell whether it is one of them
			withRules, err := l.Observer.Path(ctx)
			if err != nil {
				return outcomes, numbered(err, i+1)
			}
			o = outcomeOf(withRules.Sub(before))
		}
		o.FromHost = fromHost
		if o.Out, err = l.left(ctx, t.Packet); err != nil {
			return outcomes, numbered(err, i+1)
		}
		if o.Gone, err = l.isGone(o); err != nil {
			return outcomes, numbered(err, i+1)
		}
		outcomes = append(outcomes, o)
		before = after
	}
	return outcomes, nil
}

// sendTrial sends the packet of a trial on its link or from the host.
func (l *Lab) sendTrial(ctx context.Context, t Trial) (fromHost bool, err error) {
	if t.Link == "" && (l.isOwn(t.Packet) || t.Packet.Tuple().Src.Addr().IsLoopback()) {
		if err := l.sendFromHost(t.Packet); err != nil {
			return true, err
		}
		l.sent.Add(1)
		return true, nil
	}
	link := t.Link
	if link == "" {
		link = l.linkOf(t.Packet)
	}
	_, err = l.InjectOn(ctx, link, packet.Packets(t.Packet))
	return false, err
}

// sendFromHost sends a packet with its IP header as the host's own.
func (l *Lab) sendFromHost(p packet.Packet) error {
	if err := l.Env.Do(func() error { return sendRaw(p) }); err != nil {
		return fmt.Errorf("send from the host: %w", err)
	}
	return nil
}

// outcomeOf returns what a path tells of a packet.
func outcomeOf(p observe.Path) (o Outcome) {
	for _, loss := range p.Losses() {
		if !loss.Unconfirmed { // else the packet goes on, without an entry
			o.Losses = append(o.Losses, loss)
		}
	}
	for _, at := range p.Points {
		if at.Packets > 0 && !slices.Contains(o.Hooks, at.Probe.Hook) {
			o.Hooks = append(o.Hooks, at.Probe.Hook)
		}
	}
	o.Silenced = p.Silenced
	return o
}

// isGone reports whether the packet of an outcome is nowhere, as far as that is known; see Outcome.Gone.
func (l *Lab) isGone(o Outcome) (bool, error) {
	if len(o.Out) > 0 || slices.Contains(o.Hooks, nf.Input) || slices.ContainsFunc(o.Losses, o.ofPacket) {
		return false, nil
	}
	seen := []string{"lo"}
	for _, link := range l.Env.Links() {
		seen = append(seen, link.Name())
	}
	for _, d := range l.Env.Config().Devices {
		switch d.Kind.(type) {
		case netnsenv.Dummy, netnsenv.WireGuard:
			return false, nil
		}
		seen = append(seen, d.Name)
	}
	gone := true
	err := l.Env.Do(func() error {
		all, err := net.Interfaces()
		for _, i := range all {
			gone = gone && (i.Flags&net.FlagUp == 0 || slices.Contains(seen, i.Name) || strings.HasPrefix(i.Name, ours.FarPrefix))
		}
		return err
	})
	return gone, err
}

// outcome returns what became of a packet, from what was recorded since it was sent and from the Inbox.
func (l *Lab) outcome(ctx context.Context, p packet.Packet, fromHost bool, snap snapshot) (o Outcome, err error) {
	if err := errors.Join(snap.pathErr, snap.recordErr); err != nil {
		return o, err
	}
	o = outcomeOf(snap.path)
	o.FromHost = fromHost
	want := packet.In
	if fromHost {
		want = packet.Out
	}
	for _, f := range snap.fatesOnce() {
		if f.Frame.Dir == want {
			o.Fate = f
			break
		}
	}
	if len(o.Fate.Steps) == 0 && fromHost { // a packet that does not leave has no frame
		_, rest := observe.StepsOf(snap.record.Frames, snap.record.Steps)
		o.Fate.Steps = rest
	}
	if o.Out, err = l.left(ctx, p); err != nil {
		return o, err
	}
	if o.Gone, err = l.isGone(o); err != nil {
		return o, err
	}
	e, _, err := l.anyEntry(ctx, p.Tuple())
	switch {
	case err == nil:
		o.Entry = e.String()
	case errors.Is(err, fs.ErrNotExist), p.Tuple() == (nf.Tuple{}):
		err = nil
	case p.Tuple().Proto.IsICMP() && errors.Is(err, syscall.EINVAL): // an error message has no entry of its own
		err = nil
	}
	return o, err
}

// left returns what the host has sent since the Inbox was asked last. Of these, p may be one.
func (l *Lab) left(ctx context.Context, p packet.Packet) (sent []Sent, err error) {
	out, err := l.Inbox.Received(ctx)
	for _, a := range out {
		s := Sent{Link: a.Link, Packet: a.Packet, Passed: isPassed(p, a.Packet)}
		s.compare = compared(a.Packet, s.Passed)
		sent = append(sent, s)
	}
	return sent, err
}
