package model

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/needs"
	"github.com/ctexp/go-ctexp/internal/plain"
)

// Check returns an error if a History is not what the model says: the class and direction of each packet (if Classes are
// loaded), and after each step the entries with their state, status, timeout, and what the kernel tracks of both sides. It
// is a property for ForAll, in a Lab whose rules drop and translate nothing.
func (k Kernel) Check(h History) error {
	possible := []tracker{{proto: h.Proto}}
	for i, s := range h.Steps {
		got := h.Happened[i]
		if s.Pass == 0 && got.Sent == nil {
			return fmt.Errorf("step %d: an end that is the host itself has no model", i+1)
		}
		var next []tracker
		var wrong []string // why each possibility was not what happened
		for _, t := range possible {
			for _, c := range t.step(k, s, got.Took) {
				if why := c.compare(h.Ends, got); why != "" {
					wrong = append(wrong, why)
				} else {
					next = append(next, c.tracker)
				}
			}
		}
		if len(next) == 0 {
			slices.Sort(wrong)
			return fmt.Errorf("step %d: %s", i+1, strings.Join(slices.Compact(wrong), "\n  or: "))
		}
		slices.SortFunc(next, func(a, b tracker) int { return strings.Compare(a.describe(), b.describe()) })
		possible = slices.CompactFunc(next, func(a, b tracker) bool { return a == b })
	}
	return nil
}

// outcome is a possible state of the model after a step, and what it says of the packet.
type outcome struct {
	tracker
	said verdict // zero if time passed
}

// step returns what may become of a step that, since the end of the last one, took at most some time on the kernel's clock.
// There is more than one possibility only when that time decides.
func (t tracker) step(k Kernel, s Step, took time.Duration) (all []outcome) {
	for open := [][]bool{nil}; len(open) > 0; {
		o := oracle{given: open[0]}
		c := outcome{tracker: t}
		c.elapse(took)
		if s.Pass > 0 {
			c.age(s.Pass, &o)
		} else {
			c.said = c.packet(k, s, &o)
		}
		for i := range c.at {
			if c.at[i].fresh {
				c.at[i].lo -= took
			}
		}
		for n := len(o.given); n < o.asked; n++ { // it was false: try true
			other := make([]bool, n+1)
			copy(other, o.given)
			other[n] = true
			open = append(open, other)
		}
		open = open[1:]
		all = append(all, c)
	}
	return all
}

// compare returns how an outcome differs from what happened; "" if it does not. It narrows the times of the entries to what
// was seen.
func (c *outcome) compare(ends [2]Place, got Happening) string {
	if got.Sent != nil && got.Class != 0 {
		if seen := (verdict{got.Class, got.Dir}); seen != c.said {
			return fmt.Sprintf("the packet is %v, want %v", seen, c.said)
		}
	}
	left := slices.Clone(got.Entries)
	for i := range c.at {
		e := &c.at[i]
		if !c.there[i] {
			continue
		}
		at := slices.IndexFunc(left, func(seen nf.Entry) bool { return seen.Orig.Src.Addr() == ends[e.opener].Addr.Addr() })
		if at < 0 {
			if e.lo <= 0 {
				c.there[i] = false
				continue
			}
			return fmt.Sprintf("no entry, want %s", e.describe(c.proto))
		}
		if why := e.compare(left[at], c.proto); why != "" {
			return why
		}
		left = slices.Delete(left, at, at+1)
	}
	if len(left) > 0 {
		return fmt.Sprintf("entry %v, %v left; want %s", left[0], left[0].Timeout, c.describe())
	}
	return ""
}

// compare returns how the entry differs from the kernel's.
func (e *entry) compare(seen nf.Entry, p nf.Proto) string {
	const known = nf.SeenReply | nf.Assured
	switch {
	case seen.Status&known != e.status(), p == nf.TCP && (seen.State != e.tcp.state || seen.TCP != e.tcp.info()):
	case seen.Timeout < e.lo.Truncate(time.Second), seen.Timeout > e.hi:
	default:
		e.lo, e.hi = max(e.lo, seen.Timeout), min(e.hi, seen.Timeout+time.Second)
		return ""
	}
	text := fmt.Sprintf("entry %s, %v left", seen.Brief(), seen.Timeout)
	if p == nf.TCP {
		text += ", " + tcpInfo(seen.TCP)
	}
	return fmt.Sprintf("%s; want %s", text, e.describe(p))
}

// Sound returns an error if a History breaks a law that holds under any rules: a packet is ESTABLISHED and an entry has seen a
// reply only if both ends have sent packets; an entry is assured only if it has seen a reply; without NAT the reply tuple is
// the inverse of the original one; a packet to the address of the other end that does not get there makes no entry. It is a property for
// ForAll. The last law does not hold where packets are dropped by a qdisc or on the egress of a link.
func Sound(h History) error {
	var sent [2]bool
	before := 0 // entries
	for i, got := range h.Happened {
		if got.Sent != nil {
			sent[h.Steps[i].From] = true
		}
		wrong := func(format string, args ...any) error {
			return fmt.Errorf("step %d: %s", i+1, fmt.Sprintf(format, args...))
		}
		both := sent[A] && sent[B] || h.Ends[A].Link == "" || h.Ends[B].Link == ""
		if got.Class&nf.StateEstablished != 0 && !both {
			return wrong("a packet is ESTABLISHED, but one end has sent nothing yet")
		}
		for _, e := range got.Entries {
			switch {
			case e.Status.Has(nf.SeenReply) && !both:
				return wrong("a reply is seen, but one end has sent nothing yet: %v", e)
			case e.Status.Has(nf.Assured) && !e.Status.Has(nf.SeenReply):
				return wrong("assured without a reply: %v", e)
			case e.Status&(nf.SrcNAT|nf.DstNAT) == 0 && !inverse(e):
				return wrong("without NAT the reply tuple is not the inverse: %v", e)
			}
		}
		to := h.Ends[h.Steps[i].From.Other()]
		lost := got.Sent != nil && got.Delivered == nil && to.Link != "" && got.Sent.Tuple().Dst.Addr() == to.Addr.Addr()
		if lost && len(got.Entries) > before {
			return wrong("a packet was lost and has made an entry: %v", got.Entries[len(got.Entries)-1])
		}
		before = len(got.Entries)
	}
	return nil
}

// inverse reports whether the reply tuple of an entry is that of answers to the original one.
func inverse(e nf.Entry) bool {
	return e.Reply.Src == e.Orig.Dst && e.Reply.Dst == e.Orig.Src && e.Reply.Proto == e.Orig.Proto && e.Reply.ICMP.ID == e.Orig.ICMP.ID
}

// Config says which conversations are held, and where.
type Config struct {
	// Ends are where A and B are.
	Ends [2]Place
	// N is the number of random conversations; zero: 300.
	N int
	// Seed determines the conversations; zero: new ones each time. A failure prints it.
	Seed uint64
	// Protos are the protocols; nil: TCP, UDP and ICMP, most of them TCP.
	Protos []nf.Proto
	// Only are held instead of random conversations, each for itself: those of earlier failures.
	Only []Conversation
}

// batch is the number of conversations that are held side by side: so many that reading the whole table after each step costs
// little, so few that it all takes less than a second or two.
const batch = 500

// Counterexample is a conversation for which a property does not hold.
type Counterexample struct {
	// History is that of the smallest conversation that was found to fail.
	History
	// Err is the property's error about it.
	Err error
	// Seed is the seed of the random conversations; zero if there were none.
	Seed uint64
	// Number is that of the failing conversation among them, or of Config.Only, counted from 1.
	Number int
}

// String describes what happened and why it is wrong, and ends with the conversation as Go source.
func (c *Counterexample) String() string {
	from := fmt.Sprintf("conversation %d", c.Number)
	if c.Seed != 0 {
		from += fmt.Sprintf(" of model.Config{Seed: %d}", c.Seed)
	}
	return fmt.Sprintf("%s, made as small as possible: %v\n%v\nmodel.Config{Only: []model.Conversation{%#v}}", from, c.Err, c.History, c.Conversation)
}

// String returns what happened, step by step.
func (h History) String() string {
	var b strings.Builder
	b.WriteString(h.remark())
	for i, s := range h.Steps {
		got := h.Happened[i]
		fmt.Fprintf(&b, "%2d %s\n", i+1, s.describe(h.Proto))
		if got.Sent != nil {
			words := "not delivered"
			if got.Delivered != nil {
				words = "delivered"
			}
			if got.Class != 0 {
				words += ", " + verdict{got.Class, got.Dir}.String()
			}
			fmt.Fprintf(&b, "     %s\n", words)
		}
		for _, e := range got.Entries {
			fmt.Fprintf(&b, "     %v, %v left\n", e, e.Timeout)
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// Find holds conversations in a Lab and looks for one whose History a property refuses, by an error. It makes that one as
// small as possible and returns it; nil if all hold. An error is about the Lab, or says that the kernel's count and table
// differ or that entries survive a flush, or, if both ends are behind links, that not one packet of random conversations was delivered,
// by which most properties hold, or that the address of an end is not behind its link and nothing got there, not by NAT either;
// Observer.AllowVacuous allows these two.
//
// The Lab is a router between the links of the Ends, with net.ipv4.ip_forward=1, and any rules. Find takes the packets that
// leave on its links from its Inbox, and flushes the table now and then. Nothing else should be sent meanwhile.
func (cfg Config) Find(ctx context.Context, lab *ctexp.Lab, property func(History) error) (*Counterexample, error) {
	if err := cfg.check(lab); err != nil {
		return nil, err
	}
	var got reached
	try := func(c Conversation) (*Counterexample, error) {
		histories, err := hold(ctx, lab, cfg.Ends, []Conversation{c})
		if err != nil {
			return nil, err
		}
		got.add(histories[0])
		if err := property(histories[0]); err != nil {
			return &Counterexample{History: histories[0], Err: err}, nil
		}
		return nil, nil
	}
	for i, c := range cfg.Only {
		if found, err := try(c); found != nil || err != nil {
			if found != nil {
				found.Number = i + 1
			}
			return found, err
		}
	}
	if cfg.Only != nil {
		return nil, cfg.nowhere(lab, got)
	}
	if cfg.N == 0 {
		cfg.N = 300
	}
	for cfg.Seed == 0 {
		cfg.Seed = rand.Uint64()
	}
	for done := 0; done < cfg.N; done += batch {
		cs := Generate(rand.New(rand.NewPCG(cfg.Seed, uint64(done))), min(batch, cfg.N-done), cfg.Protos...)
		histories, err := hold(ctx, lab, cfg.Ends, cs)
		if err != nil {
			return nil, fmt.Errorf("%w (seed %d)", err, cfg.Seed)
		}
		for i, h := range histories {
			got.add(h)
			if err := property(h); err != nil {
				found, err := shrunk(&Counterexample{History: h, Err: err}, try)
				found.Seed, found.Number = cfg.Seed, done+i+1
				return found, err
			}
		}
	}
	if err := cfg.nowhere(lab, got); err != nil {
		return nil, err
	}
	router := cfg.Ends[A].Link != "" && cfg.Ends[B].Link != ""
	if router && !got[A] && !got[B] && !lab.Observer.VacuousAllowed() {
		return nil, fmt.Errorf("model: not one packet of %d conversations got to the other end, so that most properties hold: is net.ipv4.ip_forward=1, "+
			"and are the Ends behind their links? If that is meant, call AllowVacuous", cfg.N)
	}
	return nil, nil
}

// reached says to which ends packets were delivered.
type reached [2]bool

// add adds what was delivered in a History.
func (r *reached) add(h History) {
	for i, got := range h.Happened {
		if got.Delivered != nil {
			r[h.Steps[i].From.Other()] = true
		}
	}
}

// nowhere returns an error if nothing was delivered to an end whose address is not behind its link: with NAT it need not be.
func (cfg Config) nowhere(lab *ctexp.Lab, got reached) error {
	for i, end := range cfg.Ends {
		if end.Link == "" || got[i] || lab.Observer.VacuousAllowed() || lab.Env.Config().IsBehind(end.Addr.Addr(), end.Link) {
			continue
		}
		return fmt.Errorf("model: Config.Ends[%v].Addr: %v is not behind %q, and no packet got there: see Prefixes and Routes of the link; "+
			"if that is meant, call AllowVacuous", End(i), end.Addr.Addr(), end.Link)
	}
	return nil
}

// check reports what is wrong with a Config.
func (cfg Config) check(lab *ctexp.Lab) error {
	for i, end := range cfg.Ends {
		addr := end.Addr.Addr().Unmap()
		switch {
		case !addr.Is4():
			return fmt.Errorf("model: the address %v of end %v: want IPv4", end.Addr.Addr(), End(i))
		case addr.IsUnspecified(), addr.IsMulticast(), addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}), addr.IsLoopback():
			return fmt.Errorf("model: Config.Ends[%v].Addr: %v is not the address of one host", End(i), addr)
		case i > 0 && addr == cfg.Ends[A].Addr.Addr().Unmap():
			return fmt.Errorf("model: Config.Ends[%v].Addr: %v is that of end %v", End(i), addr, A)
		case end.Link != "" && lab.Env.Link(end.Link) == nil:
			return fmt.Errorf("model: end %v: the Env has no link %q", End(i), end.Link)
		case end.Link == "":
			if err := isHost(lab.Env, addr); err != nil && !lab.Observer.VacuousAllowed() {
				return fmt.Errorf("model: Config.Ends[%v]: its Link is empty, but Addr is not the host's: %w; if that is meant, call AllowVacuous", End(i), err)
			}
		}
	}
	if cfg.Ends[A].Link == "" && cfg.Ends[B].Link == "" {
		return errors.New("model: Config.Ends: neither has a Link, so that nothing is sent")
	}
	for _, p := range cfg.Protos {
		if p != nf.TCP && p != nf.UDP && p != nf.ICMP {
			return fmt.Errorf("model: protocol %v: want tcp, udp or icmp", p)
		}
	}
	if cfg.N < 0 || cfg.Only != nil && len(cfg.Only) == 0 {
		return errors.New("model: there are no conversations")
	}
	for i, c := range cfg.Only {
		if why := cfg.sendsNothing(c); why != "" {
			return fmt.Errorf("model: Config.Only[%d]: %s", i, why)
		}
	}
	return nil
}

// sendsNothing returns why holding a conversation would send nothing; "" if it would.
func (cfg Config) sendsNothing(c Conversation) string {
	packets := func(s Step) bool { return s.Pass == 0 }
	sent := func(s Step) bool { return packets(s) && cfg.Ends[s.From&1].Link != "" }
	switch {
	case !slices.ContainsFunc(c.Steps, packets):
		return "it has no packet"
	case !slices.ContainsFunc(c.Steps, sent):
		return "all of its packets are of the host itself, which are left out"
	case c.Proto != nf.TCP && c.Proto != nf.UDP && c.Proto != nf.ICMP:
		return fmt.Sprintf("protocol %v: want tcp, udp or icmp", c.Proto)
	}
	return ""
}

// isHost returns an error if the kernel does not take an address for the host's own: no socket can have it.
func isHost(env *netnsenv.Env, a netip.Addr) error {
	return env.Do(func() error {
		c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
		if err == nil {
			err = c.Close()
		}
		return err
	})
}

// shrunk returns a smaller counterexample, as far as it fails when it is held alone.
func shrunk(c *Counterexample, try func(Conversation) (*Counterexample, error)) (*Counterexample, error) {
	var failed error
	Shrink(c.Conversation, func(simpler Conversation) bool {
		if failed != nil {
			return false
		}
		found, err := try(simpler)
		if failed = err; found != nil {
			c = found
		}
		return found != nil
	})
	return c, failed
}

// ForAll fails the test if a property does not hold for all conversations: it refuses a History by an error that says why.
// The failure shows the smallest conversation that was found, and how to hold it again. See Config.Find for the Lab.
//
//	model.ForAll(t, x.Lab, model.Config{Ends: ends}, func(h model.History) error { … })
func ForAll(t ctexp.TB, lab *ctexp.Lab, cfg Config, property func(History) error) {
	t.Helper()
	found, err := cfg.Find(contextOf(t), lab, property)
	switch {
	case err != nil:
		t.Fatalf("%s", plain.Text(err.Error()))
	case found != nil:
		t.Fatalf("the property does not hold for %v", found)
	}
}

// contextOf returns the test's context.
func contextOf(t ctexp.TB) context.Context {
	if c, ok := t.(interface{ Context() context.Context }); ok {
		return c.Context()
	}
	return context.Background()
}

// Agree fails the test if the kernel does something with one of the conversations that the model k does not. It is what
// Conversation.Test prints. What differs between versions is found out; see KernelOf.
func Agree(t ctexp.TB, k Kernel, cs ...Conversation) {
	t.Helper()
	lab := ctexp.New(t, k.Router()).Lab
	k, err := KernelOf(contextOf(t), lab)
	needs.Check(t, err)
	found, err := Config{Ends: RouterEnds(), Only: cs}.Find(contextOf(t), lab, k.Check)
	if err != nil {
		t.Fatalf("%s", plain.Text(err.Error()))
	}
	if found != nil {
		t.Fatalf("the kernel and the model %#v disagree: %v", k, found)
	}
}

// Router returns the Config of a router with the settings of k, which forwards everything between the RouterEnds and records
// only what Check needs.
func (k Kernel) Router() netnsenv.Config {
	number := func(on bool) string { return map[bool]string{false: "0", true: "1"}[on] }
	cfg := netnsenv.Config{
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1", sysctlLoose: number(!k.Strict), sysctlLiberal: number(k.Liberal)},
		Rules:   []netnsenv.Ruleset{Classes()},
		NoPath:  true, NoFrames: true, NoEvents: true, NoReasons: true,
	}
	if k.IgnoreInvalidRST {
		cfg.Sysctls[sysctlIgnoreRST] = "1"
	}
	for _, end := range RouterEnds() {
		router := netip.PrefixFrom(end.Addr.Addr().Prev(), 24)
		cfg.Links = append(cfg.Links, netnsenv.LinkConfig{Name: end.Link, Prefixes: []netip.Prefix{router}})
	}
	return cfg
}

// RouterEnds returns the ends of conversations through a Router.
func RouterEnds() [2]Place {
	return [2]Place{
		{Link: "tun0", Addr: netip.MustParseAddrPort("198.18.0.2:80")},
		{Link: "tun1", Addr: netip.MustParseAddrPort("192.0.2.2:80")},
	}
}

const (
	sysctlLoose     = "net.netfilter.nf_conntrack_tcp_loose"
	sysctlLiberal   = "net.netfilter.nf_conntrack_tcp_be_liberal"
	sysctlIgnoreRST = "net.netfilter.nf_conntrack_tcp_ignore_invalid_rst"
)

// KernelOf returns the Kernel of a Lab that was opened with a Router: its settings, and what differs between versions, for
// which it holds a conversation. If the kernel is too old for the model, the error is an nf.UnsupportedError.
func KernelOf(ctx context.Context, lab *ctexp.Lab) (k Kernel, err error) {
	if err := kernel.BesideWindowPasses.Lack(); err != nil {
		return k, fmt.Errorf("model: %w", err)
	}
	for name, set := range map[string]func(on bool){
		sysctlLoose:     func(on bool) { k.Strict = !on },
		sysctlLiberal:   func(on bool) { k.Liberal = on },
		sysctlIgnoreRST: func(on bool) { k.IgnoreInvalidRST = on },
	} {
		value, err := lab.Env.Sysctl(name)
		if err != nil {
			return k, fmt.Errorf("model: %w", err)
		}
		set(value != "0")
	}
	histories, err := hold(ctx, lab, RouterEnds(), []Conversation{inexactReset, ownSYNReset})
	if err != nil {
		return k, err
	}
	last := func(h History) (e nf.Entry) {
		if es := h.Happened[len(h.Steps)-1].Entries; len(es) == 1 {
			e = es[0]
		}
		return e
	}
	inexact, own := last(histories[0]), last(histories[1])
	if inexact.State != nf.Established {
		return k, errors.New("model: an RST in the window but not exact does not leave the connection ESTABLISHED: this kernel is too old for the model")
	}
	k.LongReset = inexact.Timeout > tcpTimeouts[cl]
	k.OwnSYNReset = !own.TCP.Reply.Flags.Has(nf.MaxACKSet)
	return k, nil
}

// inexactReset is a connection and an RST in the window, but not exactly at its beginning.
var inexactReset = Conversation{Proto: nf.TCP, Steps: []Step{
	{Flags: packet.FlagSYN, Seq: 1, Window: 65535},
	{From: B, Flags: packet.FlagSYN | packet.FlagACK, Seq: 1, Ack: 2, Window: 65535},
	{Flags: packet.FlagACK, Seq: 2, Ack: 2, Window: 65535},
	{From: B, Flags: packet.FlagACK, Seq: 2, Ack: 2, Window: 65535},
	{Flags: packet.FlagRST | packet.FlagACK, Seq: 102, Ack: 2, Window: 65535},
}}

// ownSYNReset is a simultaneous open and an RST of the end that has sent the last SYN.
var ownSYNReset = Conversation{Proto: nf.TCP, Steps: []Step{
	{Flags: packet.FlagSYN, Window: 65535},
	{From: B, Flags: packet.FlagSYN, Window: 65535},
	{From: B, Flags: packet.FlagRST | packet.FlagACK, Window: 65535},
}}
