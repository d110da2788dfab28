package ctexp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Policy is one rendering of a policy: iptables-save text of before and the nft text that is to replace it, say.
type Policy struct {
	Name  string // as the Comparison calls it
	Rules []netnsenv.Ruleset
}

// Comparison is what became of the same packets under several policies.
type Comparison struct {
	Policies []string
	Packets  []Compared
}

// Compared is what became of one packet.
type Compared struct {
	Packet   packet.Packet
	Link     string    // by which it came
	Outcomes []Outcome // in the order of the Comparison's Policies
}

// Compare puts the same packets, one after the other, to each of the policies, each in a fresh Lab of the same Config, and
// returns what became of each of them under each policy. A policy's Rules are loaded behind those of the Config. Each packet
// comes by the link that its source is behind, as in Lab.States.
//
// A policy that cannot be loaded is an error that names it; where this machine cannot do what it needs, it answers to
// errors.ErrUnsupported (see Require).
//
//	c, err := ctexp.Compare(t.Context(), cfg, policies, packets)
//	if diff := c.Diff(); diff != "" { … }
func Compare(ctx context.Context, cfg netnsenv.Config, policies []Policy, packets iter.Seq[packet.Packet]) (Comparison, error) {
	c, err := compare(ctx, cfg, policies, packets)
	if err != nil {
		return Comparison{}, fmt.Errorf("ctexp: compare: %w", err)
	}
	return c, nil
}

func compare(ctx context.Context, cfg netnsenv.Config, policies []Policy, packets iter.Seq[packet.Packet]) (Comparison, error) {
	switch {
	case len(policies) < 2:
		return Comparison{}, fmt.Errorf("%d policies: want two or more", len(policies))
	case packets == nil:
		return Comparison{}, errors.New("the sequence of packets is nil")
	}
	var c Comparison
	for i, p := range policies {
		if p.Name == "" {
			p.Name = fmt.Sprintf("policy %d", i+1)
		}
		if slices.Contains(c.Policies, p.Name) {
			return Comparison{}, fmt.Errorf("policy %q: the name is taken", p.Name)
		}
		c.Policies = append(c.Policies, p.Name)
	}
	cfg.NoPath, cfg.Trace = false, true // they say where a packet is lost, and by which rule
	all := slices.Collect(packets)
	tried := make([][]Compared, len(policies))
	errs := make([]error, len(policies))
	var wg sync.WaitGroup
	for i, p := range policies {
		wg.Go(func() {
			if tried[i], errs[i] = try(ctx, cfg, p.Rules, all); errs[i] != nil {
				errs[i] = fmt.Errorf("policy %q: %w", c.Policies[i], errs[i])
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return Comparison{}, err
	}
	c.Packets = make([]Compared, len(all))
	for i := range all {
		c.Packets[i] = tried[0][i]
		for _, other := range tried[1:] {
			c.Packets[i].Outcomes = append(c.Packets[i].Outcomes, other[i].Outcomes...)
		}
	}
	return c, nil
}

// try puts the packets to one policy.
func try(ctx context.Context, cfg netnsenv.Config, rules []netnsenv.Ruleset, packets []packet.Packet) (tried []Compared, err error) {
	cfg.Rules = slices.Concat(cfg.Rules, rules)
	lab, err := Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lab.Close()) }()
	before := lab.look(ctx)
	for i, p := range packets {
		link := lab.linkOf(p)
		if _, err := lab.InjectOn(ctx, link, packet.Packets(p)); err != nil {
			return nil, numbered(err, i+1)
		}
		after := lab.look(ctx)
		outcome, err := lab.outcome(ctx, p, after.since(before))
		if err != nil {
			return nil, fmt.Errorf("packet %d: %w", i+1, err)
		}
		tried = append(tried, Compared{Packet: p, Link: link, Outcomes: []Outcome{outcome}})
		before = after
	}
	return tried, nil
}

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
	Packet  packet.Packet
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
func (l *Lab) outcome(ctx context.Context, p packet.Packet, k look) (o Outcome, err error) {
	if err := errors.Join(k.pathErr, k.recordErr); err != nil {
		return o, err
	}
	for _, f := range k.fates() {
		if f.Frame.Dir == packet.In {
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
		s := Sent{Link: a.Link, Packet: a.Packet, Passed: isPassed(p, a.Packet)}
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
func isPassed(in, out packet.Packet) bool {
	kept := func(p packet.Packet) (fields []packet.Field) {
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
func compared(p packet.Packet, passed bool) string {
	fields := p.Fields()
	has := func(name, value string) bool {
		return slices.ContainsFunc(fields, func(f packet.Field) bool { return f.Name == name && strings.Contains(f.Value, value) })
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

// Diff returns the packets whose fates differ between the policies, with these fates; "" if there are none.
func (c Comparison) Diff() string {
	return c.text(func(p Compared) bool { return len(p.groups()) > 1 })
}

// String returns what became of every packet under every policy. Policies under which it is the same share a line.
func (c Comparison) String() string { return c.text(func(Compared) bool { return true }) }

func (c Comparison) text(show func(Compared) bool) string {
	var b strings.Builder
	for i, p := range c.Packets {
		if !show(p) {
			continue
		}
		fmt.Fprintf(&b, "packet %d by %s: %v\n", i+1, p.Link, p.Packet)
		groups := p.groups()
		for _, g := range groups {
			c.group(&b, p, g)
		}
		if len(groups) > 1 {
			b.WriteString(c.bytes(p, groups[0][0], groups[1][0]))
		}
	}
	return b.String()
}

// group shows the fate that a packet has under some policies, and what each of these says of how it was lost.
func (c Comparison) group(b *strings.Builder, p Compared, group []int) {
	var names []string
	same := true
	for _, at := range group {
		names = append(names, c.Policies[at])
		same = same && p.Outcomes[at].why() == p.Outcomes[group[0]].why()
	}
	o, why := p.Outcomes[group[0]], ""
	if same {
		why = o.why()
	}
	fmt.Fprintf(b, "  %s: %s\n", strings.Join(names, ", "), strings.ReplaceAll(o.text(why), "\n", "\n    "))
	for _, at := range group {
		if !same {
			fmt.Fprintf(b, "      %s: %s\n", c.Policies[at], p.Outcomes[at].why())
		}
	}
}

// groups returns the numbers of the policies under which the packet's fate is the same.
func (p Compared) groups() (groups [][]int) {
next:
	for i, o := range p.Outcomes {
		for j, g := range groups {
			if o.Same(p.Outcomes[g[0]]) {
				groups[j] = append(g, i)
				continue next
			}
		}
		groups = append(groups, []int{i})
	}
	return groups
}

// bytes shows the fields in which two packets differ that left by the same link and look the same in one line.
func (c Comparison) bytes(p Compared, a, b int) string {
	one, other := p.Outcomes[a].Out, p.Outcomes[b].Out
	for i := range min(len(one), len(other)) {
		if one[i].Link == other[i].Link && one[i].compare != other[i].compare && one[i].Packet.String() == other[i].Packet.String() {
			return fmt.Sprintf("    by its fields, %s (want) and %s (got):\n    ", c.Policies[a], c.Policies[b]) + strings.ReplaceAll(strings.TrimRight(packet.Diff(one[i].Packet, other[i].Packet), "\n"), "\n", "\n    ") + "\n"
		}
	}
	return ""
}

// String says what became of the packet: where it was lost, or what left and by which link, and its entry.
func (o Outcome) String() string { return o.text(o.why()) }

func (o Outcome) text(why string) string {
	var lines []string
	if len(o.Losses) > 0 {
		var hooks []string
		for _, h := range o.lost() {
			hooks = append(hooks, h.String())
		}
		lost := "lost in " + strings.Join(hooks, " and ")
		if why != "" {
			lost += ", " + why
		}
		lines = append(lines, lost)
	}
	for _, s := range o.Out {
		what := "the host sends by"
		if s.Passed {
			what = "leaves by"
		}
		lines = append(lines, fmt.Sprintf("%s %s: %v", what, s.Link, s.Packet))
	}
	if len(lines) == 0 {
		lines = append(lines, "taken by the host, which says nothing")
	}
	entry := "no entry"
	if o.Entry != "" {
		entry = "entry " + o.Entry
	}
	return strings.Join(append(lines, entry), "\n")
}

// Diff returns the difference of two plain values in the manner of cmp.Diff, lines of want with - and of got with +,
// or "" if they are equal. An empty and a nil slice or map count as equal, and the types of netip are compared by ==,
// on which a bare cmp.Diff panics. Of two packets the fields are shown in which they differ.
func Diff(want, got any) string {
	return cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{}), byFields)
}

// byFields shows packets by their fields where these tell them apart: their lines may be the same.
var byFields = cmp.FilterValues(func(a, b packet.Packet) bool {
	return !bytes.Equal(a, b) && !slices.Equal(a.Fields(), b.Fields())
}, cmp.Transformer("Fields", packet.Packet.Fields))
