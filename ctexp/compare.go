package ctexp

import (
	"bytes"
	stdcmp "cmp"
	"context"
	"errors"
	"fmt"
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

// Policy is one version of a ruleset to compare, such as iptables-save text and the nft text that will replace it.
type Policy struct {
	Name  string             // its name in the Comparison; empty is "policy 1" and so on
	Rules []netnsenv.Ruleset // loaded after those of the Config
}

// Comparison is what became of the same packets under several policies.
type Comparison struct {
	Policies []string   // their names, in the order of Compare
	Packets  []Compared // in the order of Compare
	// Vacuous says why no packet could have shown a difference between two of the policies, whose outcomes are the same: none got to
	// a chain in which they differ, as if all packets are dropped before it. Empty: some packet could, or the policies have the same
	// rules, with the same elements of sets and maps. What is not rules, such as a Helper, is not compared, and taken for a
	// difference that was met. Diff returns it if there is no difference; see AllowVacuous.
	Vacuous string
}

// AllowVacuous says that the policies are meant to be the same for these packets although none of them got to where they differ.
func (c *Comparison) AllowVacuous() { c.Vacuous = "" }

// Compared is what became of one packet.
type Compared struct {
	Packet   packet.Packet // as it was sent to the host
	Link     string        // the link on which it was sent
	Outcomes []Outcome     // in the order of the Comparison's Policies
}

// Outcome is what became of a packet, and of the host's answers to it, under one policy.
type Outcome struct {
	// Fate is that of the packet itself; zero if it was not captured.
	Fate Fate
	// Losses are the places where the packet or an answer of the host was lost, in the order of the path. Outcomes that are
	// the same may differ in the causes.
	Losses []observe.Loss
	// Out are the packets that left the host: the packet itself, changed or not, and answers.
	Out []Sent
	// Entry is the entry of the packet's flow afterwards, as nf.Entry prints it; empty if there is none.
	Entry string
	// Hooks are the hooks that the packet and answers of the host met, in the order of the path.
	Hooks []nf.Hook
	// Silenced is the number of answers of the host that Config.Silent has dropped.
	Silenced uint64
	// FromHost reports that the host itself has sent the packet (see Trial).
	FromHost bool
	// Gone reports that the packet was neither delivered to the host nor left it on a link, and no Loss tells where it ended: in a
	// rule of a bridge, in a filter of tc, or waiting for the Ethernet address of a neighbour. It is not known, and
	// false, in an Env with an interface other than its links by which packets may leave: a Wire, a Dummy, a tunnel.
	Gone bool
}

// Sent is a packet that the host has sent.
type Sent struct {
	Link    string        // the link on which it left
	Packet  packet.Packet // as it left
	Passed  bool          // it is the packet that came in, forwarded; else the host has created it
	compare string        // its fields, without those that are random
}

// Compare sends the same packets, one after the other, through each policy, in a new Lab of the same Config for each, and
// returns what became of each packet under each policy. A policy's Rules are loaded after those of the Config. Each packet
// is sent on the link that its source is behind, as in Lab.States.
//
// If no packet got to where the policies differ, the Comparison is Vacuous, and its Diff says so.
//
// If a policy cannot be loaded, the error names it; if this machine lacks something that it needs, the error is an
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
	cfg.NoPath, cfg.Trace = false, true // to know where a packet is lost, and by which rule
	all := slices.Collect(packets)
	tried := make([][]Compared, len(policies))
	reach := make([]Reach, len(policies))
	errs := make([]error, len(policies))
	var wg sync.WaitGroup
	for i, p := range policies {
		wg.Go(func() {
			if tried[i], reach[i], errs[i] = try(ctx, cfg, p.Rules, all); errs[i] != nil {
				errs[i] = fmt.Errorf("policy %q: %w", c.Policies[i], errs[i])
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return Comparison{}, err
	}
	if len(all) == 0 {
		return Comparison{}, errors.New("there are no packets: without any, the policies cannot differ")
	}
	c.Packets = make([]Compared, len(all))
	for i := range all {
		c.Packets[i] = tried[0][i]
		for _, other := range tried[1:] {
			c.Packets[i].Outcomes = append(c.Packets[i].Outcomes, other[i].Outcomes...)
		}
	}
	for i := range policies[1:] {
		if c.Vacuous == "" && c.areSame(0, i+1) {
			if c.Vacuous = reach[0].Vacuous(reach[i+1], c.Policies[0], c.Policies[i+1]); c.Vacuous != "" {
				c.Vacuous += ", or, if that is meant, call AllowVacuous"
			}
		}
	}
	return c, nil
}

// areSame reports whether all outcomes of two policies are the same.
func (c Comparison) areSame(a, b int) bool {
	return !slices.ContainsFunc(c.Packets, func(p Compared) bool { return !p.Outcomes[a].Same(p.Outcomes[b]) })
}

// try sends the packets through one policy.
func try(ctx context.Context, cfg netnsenv.Config, rules []netnsenv.Ruleset, packets []packet.Packet) (tried []Compared, r Reach, err error) {
	cfg.Rules = slices.Concat(cfg.Rules, rules)
	lab, err := Open(ctx, cfg)
	if err != nil {
		return nil, r, err
	}
	defer func() { err = errors.Join(err, lab.Close()) }()
	entries, err := lab.Observer.Count(ctx)
	if err != nil {
		return nil, r, err
	}
	var trials []Trial
	for _, p := range packets {
		trials = append(trials, Trial{Link: lab.linkOf(p), Packet: p})
	}
	outcomes, err := lab.Try(ctx, trials...)
	if err != nil {
		return nil, r, err
	}
	for i, t := range trials {
		tried = append(tried, Compared{Packet: t.Packet, Link: t.Link, Outcomes: []Outcome{outcomes[i]}})
	}
	r, err = lab.reach(ctx, entries > 0 || slices.ContainsFunc(rules, isOpaque))
	return tried, r, err
}

// Same reports whether two outcomes are the same: the same verdict, lost at the same hooks, the same packets on the same links, the
// same entry. In packets that the host has created, the numbers that it chooses at random are not compared: the IP
// identification, initial sequence numbers, timestamps and flow labels.
func (o Outcome) Same(other Outcome) bool {
	return slices.Equal(o.lost(), other.lost()) && o.Entry == other.Entry && o.Verdict() == other.Verdict() &&
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

// why returns where something was lost and, as far as counters and traces show, why.
func (o Outcome) why() string {
	for _, s := range o.Fate.Steps { // the trace is more certain than counters
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

// whereGone says where a packet is that is Gone.
func (o Outcome) whereGone() string {
	if len(o.Hooks) == 0 {
		return "it meets no hook of IP, and leaves on no link"
	}
	return "it goes on behind the last hook, and leaves on no link"
}

// isPassed reports whether out is the packet in, forwarded: whether the fields that forwarding and NAT keep are the same.
func isPassed(in, out packet.Packet) bool {
	kept := func(p packet.Packet) (fields []packet.Field) {
		for _, f := range p.Fields() {
			switch f.Name {
			case "protocol", "seq", "ack", "flags", "win", "payload", "type", "code", "id": // NAT may change the "query id" of ICMP
				fields = append(fields, f)
			}
		}
		return fields
	}
	return slices.Equal(kept(in), kept(out))
}

// compared returns the fields of a packet, one a line, without those that the host chooses at random.
func compared(p packet.Packet, passed bool) string {
	fields := p.Fields()
	has := func(name, value string) bool {
		return slices.ContainsFunc(fields, func(f packet.Field) bool { return f.Name == name && strings.Contains(f.Value, value) })
	}
	tcp := has("flags", "[") && has("win", "") && !has("flags", "R") // the numbers of an RST follow from the segment it answers
	var b strings.Builder
	for _, f := range fields {
		switch {
		case passed:
		case f.Name == "id", f.Name == "flow label", tcp && f.Name == "seq":
			continue
		case tcp && f.Name == "options":
			f.Value = timestamp.ReplaceAllString(f.Value, "TS")
		}
		b.WriteString(f.Name + " " + f.Value + "\n")
	}
	return b.String()
}

// timestamp is the sender's time in the timestamps option, as Fields prints it.
var timestamp = regexp.MustCompile(`TS val \d+`)

// Diff describes the packets whose outcomes differ between the policies; "" if there are none. If no packet could have shown a
// difference, it says so: see Vacuous.
func (c Comparison) Diff() string {
	return stdcmp.Or(c.text(func(p Compared) bool { return len(p.groups()) > 1 }), c.Vacuous)
}

// String describes the outcome of every packet under every policy. Policies with the same outcome share a line.
func (c Comparison) String() string { return c.text(func(Compared) bool { return true }) }

func (c Comparison) text(show func(Compared) bool) string {
	var b strings.Builder
	for i, p := range c.Packets {
		if !show(p) {
			continue
		}
		fmt.Fprintf(&b, "packet %d on %s: %v\n", i+1, p.Link, p.Packet)
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

// group writes the common outcome of a packet under some policies, and the causes of a loss, for each policy if they differ.
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

// groups returns the indexes of the policies, grouped by the packet's outcome.
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

// bytes returns the fields that differ between two packets that left on the same link and have the same String.
func (c Comparison) bytes(p Compared, a, b int) string {
	one, other := p.Outcomes[a].Out, p.Outcomes[b].Out
	for i := range min(len(one), len(other)) {
		if one[i].Link == other[i].Link && one[i].compare != other[i].compare && one[i].Packet.String() == other[i].Packet.String() {
			return fmt.Sprintf("    fields of %s (want) and %s (got):\n    ", c.Policies[a], c.Policies[b]) + strings.ReplaceAll(strings.TrimRight(packet.Diff(one[i].Packet, other[i].Packet), "\n"), "\n", "\n    ") + "\n"
		}
	}
	return ""
}

// String describes where the packet was lost, or what left on which link, and the entry.
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
	if o.Gone {
		lines = append(lines, "lost: "+o.whereGone())
	}
	for _, s := range o.Out {
		what := "the host sends on"
		if s.Passed {
			what = "leaves on"
		}
		lines = append(lines, fmt.Sprintf("%s %s: %v", what, s.Link, s.Packet))
	}
	switch {
	case len(lines) > 0:
	case slices.Contains(o.Hooks, nf.Input):
		lines = append(lines, "accepted by the host, which sends nothing")
	default: // by an interface that is not seen, else it were Gone
		lines = append(lines, "not delivered to the host, and seen on no link")
	}
	entry := "no entry"
	if o.Entry != "" {
		entry = "entry " + o.Entry
	}
	return strings.Join(append(lines, entry), "\n")
}

// Diff returns the difference of two plain values like cmp.Diff, with - for want and + for got, or "" if they are equal.
// Empty and nil slices and maps are equal, and the types of netip, on which a plain cmp.Diff panics, are compared by ==.
// For packets it shows the fields that differ.
func Diff(want, got any) string {
	return cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{}), byFields)
}

// byFields shows the fields of two packets, whose String may be the same, if the fields differ.
var byFields = cmp.FilterValues(func(a, b packet.Packet) bool {
	return !bytes.Equal(a, b) && !slices.Equal(a.Fields(), b.Fields())
}, cmp.Transformer("Fields", packet.Packet.Fields))
