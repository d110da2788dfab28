package ctexp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// Fate is what became of a packet, and of what the host made of it.
type Fate struct {
	// Lost are the hooks at which something was lost, in the order of the path: "input". Empty: nothing was.
	Lost []string
	// How says where exactly, and as far as the counts tell by which rule. Two fates may be the same and differ in it.
	How string
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

// Same reports whether two fates are the same: lost at the same hooks, the same packets by the same links, the same entry.
// Of packets that the host has made, the numbers that it draws anew each time are not compared: the IP identification,
// first sequence numbers, timestamps and flow labels.
func (f Fate) Same(other Fate) bool {
	return slices.Equal(f.Lost, other.Lost) && f.Entry == other.Entry &&
		slices.EqualFunc(f.Out, other.Out, func(a, b Sent) bool { return a.Link == b.Link && a.compare == b.compare })
}

// fate tells what became of a packet by what was counted since it came and by what the Inbox has.
func (l *Lab) fate(ctx context.Context, p inject.Packet, path observe.Path) (f Fate, err error) {
	var how []string
	for _, loss := range path.Losses() {
		if loss.Unconfirmed() { // it goes on, without an entry
			continue
		}
		hook := loss.From[strings.LastIndex(loss.From, "/")+1:]
		if !slices.Contains(f.Lost, hook) {
			f.Lost = append(f.Lost, hook)
		}
		how = append(how, "between "+loss.From+" and "+loss.To+": "+loss.Why)
	}
	f.How = strings.Join(how, "; ")
	out, err := l.Inbox.Received(ctx)
	if err != nil {
		return f, err
	}
	for _, a := range out {
		s := Sent{Link: a.Out, Packet: a.Packet, Passed: isPassed(p, a.Packet)}
		s.compare = compared(a.Packet, s.Passed)
		f.Out = append(f.Out, s)
	}
	e, err := l.Observer.Get(ctx, p.Tuple(), 0)
	switch {
	case err == nil:
		f.Entry = e.String()
	case errors.Is(err, fs.ErrNotExist), p.Tuple() == (nf.Tuple{}):
		err = nil
	}
	return f, err
}

// droppedBy says by which rule something was lost, if the trace of what happened to the packet tells.
func (f *Fate) droppedBy(steps []observe.Step) {
	for _, s := range steps {
		if s.Verdict == "drop" && len(f.Lost) > 0 {
			f.How = fmt.Sprintf("dropped by %s %s %s: %s", s.Family, s.Table, s.Chain, s.Rule)
			return
		}
	}
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
