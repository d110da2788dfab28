package ctexp

import (
	"context"
	"errors"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// Outcome is what became of a packet under a policy, and of what the host made of it.
type Outcome struct {
	// Fate is that of the packet itself; zero if it was not captured.
	Fate Fate
	// Losses are the places at which something was lost, in the order of the path: the packet, or an answer of the host. Two
	// outcomes may be the same and differ in the causes.
	Losses []observe.Loss
	// Out is what left the host: the packet itself, changed or not, and answers.
	Out []Sent
	// Entry is the entry of the packet's flow behind it, as nf.Entry prints it; empty without one.
	Entry string
}

// Sent is a packet that the host has sent.
type Sent struct {
	Link    string
	Packet  inject.Packet
	Passed  bool   // it is the one that came in, sent on; else the host has made it
	compare string // its fields, without those that are another each time
}

// Same reports whether two outcomes are the same: lost at the same hooks, the same packets by the same links, the same entry.
// Of packets that the host has made, the numbers that it draws anew each time are not compared: the IP identification,
// first sequence numbers, timestamps and flow labels.
func (o Outcome) Same(other Outcome) bool {
	return slices.Equal(o.lost(), other.lost()) && o.Entry == other.Entry &&
		slices.EqualFunc(o.Out, other.Out, func(a, b Sent) bool { return a.Link == b.Link && a.compare == b.compare })
}

// lost returns the hooks at which something was lost.
func (o Outcome) lost() (hooks []nf.Hook) {
	for _, l := range o.Losses {
		if !slices.Contains(hooks, l.Hook) {
			hooks = append(hooks, l.Hook)
		}
	}
	return hooks
}

// why prints where something was lost and, as far as counts and traces tell, why.
func (o Outcome) why() string {
	for _, s := range o.Fate.Steps { // what the rules are seen to do is known better than what they count
		if s.Dropped() && len(o.Losses) > 0 {
			return s.Cause().String()
		}
	}
	var why []string
	for _, l := range o.Losses {
		why = append(why, "between "+l.Between()+": "+l.Why())
	}
	return strings.Join(why, "; ")
}

// outcome returns what became of a packet by what was recorded since it came and by what the Inbox has.
func (l *Lab) outcome(ctx context.Context, p inject.Packet, k look) (o Outcome, err error) {
	if err := errors.Join(k.pathErr, k.recordErr); err != nil {
		return o, err
	}
	for _, f := range k.fates() {
		if f.Frame.Dir == observe.In {
			o.Fate = f
			break
		}
	}
	for _, loss := range k.path.Losses() {
		if !loss.Unconfirmed { // else it goes on, without an entry
			o.Losses = append(o.Losses, loss)
		}
	}
	out, err := l.Inbox.Received(ctx)
	if err != nil {
		return o, err
	}
	for _, a := range out {
		s := Sent{Link: a.Out, Packet: a.Packet, Passed: isPassed(p, a.Packet)}
		s.compare = compared(a.Packet, s.Passed)
		o.Out = append(o.Out, s)
	}
	e, err := l.Observer.Get(ctx, p.Tuple(), 0)
	switch {
	case err == nil:
		o.Entry = e.String()
	case errors.Is(err, fs.ErrNotExist), p.Tuple() == (nf.Tuple{}):
		err = nil
	}
	return o, err
}

// isPassed reports whether out is the packet in, sent on: whether what nobody changes on the way is the same.
func isPassed(in, out inject.Packet) bool {
	kept := func(p inject.Packet) (fields []inject.Field) {
		for i, f := range p.Fields() {
			switch f.Name {
			case "protocol", "seq", "ack", "flags", "win", "payload", "type", "code":
				fields = append(fields, f)
			case "id":
				if i > firstFields { // that of ICMP, which NAT may change
					continue
				}
				fields = append(fields, f)
			}
		}
		return fields
	}
	return slices.Equal(kept(in), kept(out))
}

// firstFields are those of the IP header.
const firstFields = 8

// compared returns the fields of a packet in one line each, without those that the host draws anew.
func compared(p inject.Packet, passed bool) string {
	fields := p.Fields()
	has := func(name, value string) bool {
		return slices.ContainsFunc(fields, func(f inject.Field) bool { return f.Name == name && strings.Contains(f.Value, value) })
	}
	tcp := has("flags", "[") && has("win", "") && !has("flags", "R") // a RST has the numbers of what it answers
	var b strings.Builder
	for i, f := range fields {
		switch {
		case passed:
		case f.Name == "id" && i <= firstFields, f.Name == "flow label", tcp && f.Name == "seq":
			continue
		case tcp && f.Name == "options":
			f.Value = timestamp.ReplaceAllString(f.Value, "TS")
		}
		b.WriteString(f.Name + " " + f.Value + "\n")
	}
	return b.String()
}

// timestamp is the option as the line of a packet has it.
var timestamp = regexp.MustCompile(`TS val \d+`)
