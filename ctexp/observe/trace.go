package observe

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
	"github.com/ctexp/go-ctexp/internal/plain"
	"github.com/ctexp/go-ctexp/internal/ruleset"
)

// Step is what happened to a traced packet at one of the user's nftables rules or at the end of a chain. Rules of
// iptables-nft are nftables rules; those of iptables-legacy are not traced.
type Step struct {
	// Time is the time of the packet's frame, the same for all its steps; without a frame, when the Observer read the
	// step.
	Time time.Time
	// Packet numbers the packets from 0 in the order in which their traces begin. A packet that meets no rule has a
	// number but no step. The steps of a packet are in order. Between them there may be steps of another packet that
	// it caused, such as the RST of a reject.
	Packet int
	Link   string     // the link by which the packet came in, or by which a packet of the host itself leaves; may be empty
	Dir    packet.Dir // In, or Out for packets of the host itself
	// Header is the beginning of the packet when its trace began: the IP header and up to 20 bytes of the next
	// header.
	Header []byte

	Family, Table, Chain string   // as nft prints them: "inet", "filter", "input"
	Kind                 StepKind // where in the chain the step was taken
	Handle               uint64   // handle of the rule; 0 at the end of a chain
	Rule                 string   // text of the rule (see Rule.Text); empty at the end of a chain, or if the rule no longer exists
	Verdict              string   // as nft prints it: "accept", "drop", "continue", "jump web", "return"
	// State is the conntrack state of the packet when it entered the base chain, and Status the status bits of its
	// entry. Both are zero before conntrack, for INVALID packets, and if the kernel does not report them (before
	// 6.16).
	State  nf.CTState
	Status nf.Status // of the entry, see State
}

// StepKind is the kind of a Step.
type StepKind string

// The kinds of steps.
const (
	StepRule   StepKind = "rule"
	StepReturn StepKind = "return" // the end of a chain that was jumped to
	StepPolicy StepKind = "policy" // the end of a base chain
)

// Dropped reports whether the step dropped the packet.
func (s Step) Dropped() bool { return s.Verdict == verdictDrop }

// verdictDrop is the Verdict of a step that drops.
const verdictDrop = "drop"

// Cause returns the rule or policy of a step that dropped the packet as a Cause.
func (s Step) Cause() Cause {
	r := Rule{Backend: "nft", Family: s.Family, Table: s.Table, Chain: s.Chain, Kind: KindRule, Text: s.Rule}
	switch {
	case s.Kind == StepPolicy:
		r.Kind, r.Text = KindPolicy, s.Verdict
	case r.Text == "":
		r.Text = fmt.Sprintf("handle %d", s.Handle)
	}
	return Cause{Kind: CauseRule, Certain: true, Packets: 1, Rule: r, Traced: true}
}

// String prints the step as one line, much as nft monitor trace does:
//
//	12:00:00.000001 #0 tun0 In  ip filter input rule tcp dport 80 jump web (verdict jump web)
//	12:00:00.000001 #0 tun0 In  ip filter web rule ct state new drop (verdict drop)
//	12:00:00.000002 #1 tun0 In  ip filter input policy accept
func (s Step) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s #%d ", s.Time.Format("15:04:05.000000"), s.Packet)
	if s.Link != "" {
		fmt.Fprintf(&b, "%s ", s.Link)
	}
	fmt.Fprintf(&b, "%-3v %s", s.Dir, s.brief())
	if s.State != 0 {
		fmt.Fprintf(&b, " [%v]", s.State)
	}
	return plain.Line(b.String())
}

// brief prints the step without its packet.
func (s Step) brief() string {
	at := fmt.Sprintf("%s %s %s", s.Family, s.Table, s.Chain)
	switch s.Kind {
	case StepRule:
		rule := s.Rule
		if rule == "" {
			rule = fmt.Sprintf("with handle %d", s.Handle)
		}
		return fmt.Sprintf("%s rule %s (verdict %s)", at, rule, s.Verdict)
	case StepPolicy:
		return fmt.Sprintf("%s policy %s", at, s.Verdict)
	}
	return fmt.Sprintf("%s %s", at, s.Verdict)
}

// StepsOf assigns steps to frames: of[i] has the steps of the packet that came in with frames[i] or, for packets of
// the host itself, left with it. Of several identical frames it selects by time, which steps have from their frame;
// if no time matches, by order: the first frame belongs to the packet that was traced first, and so on. Frames by
// which a packet was forwarded do not count. rest has the steps without a frame: of packets that were dropped before
// they left, changed by a rule, or not captured.
func StepsOf(frames []packet.Record, steps []Step) (of [][]Step, rest []Step) {
	of = make([][]Step, len(frames))
	packets := map[int]*packetFrame{}
	var order []*packetFrame
	for _, s := range steps {
		p := packets[s.Packet]
		if p == nil {
			p = &packetFrame{link: s.Link, dir: s.Dir, header: s.Header, time: s.Time}
			packets[s.Packet] = p
			order = append(order, p)
		}
		p.dropped = p.dropped || s.Dropped()
	}
	findFrames(frames, order)
	for _, s := range steps {
		if i := packets[s.Packet].frame; i >= 0 {
			of[i] = append(of[i], s)
		} else {
			rest = append(rest, s)
		}
	}
	return of, rest
}

// packetFrame is a traced packet with its frame.
type packetFrame struct {
	link    string
	dir     packet.Dir
	header  []byte
	time    time.Time // of its frame, if known
	dropped bool
	frame   int // index of its frame, or -1
}

// frameKey is what a packet and its frame have in common.
type frameKey struct {
	link string
	dir  packet.Dir
	head string // without checksums
	time int64  // in nanoseconds; 0: any
}

// findFrames finds the frames of packets, which are in the order of their traces: by time, or if no time matches, by
// order.
func findFrames(frames []packet.Record, packets []*packetFrame) {
	for _, p := range packets {
		p.frame = -1
	}
	found := false
	for _, timed := range []bool{true, false} {
		if found {
			return
		}
		waiting := map[frameKey][]*packetFrame{}
		var lengths []int
		for _, p := range packets {
			if len(p.header) == 0 || p.dir == packet.Out && p.dropped { // a dropped packet has not left
				continue
			}
			as := frameKey{link: p.link, dir: p.dir, head: string(withoutChecksums(p.header))}
			if timed {
				as.time = p.time.UnixNano()
			}
			waiting[as] = append(waiting[as], p)
			if !slices.Contains(lengths, len(p.header)) {
				lengths = append(lengths, len(p.header))
			}
		}
		slices.SortFunc(lengths, func(a, b int) int { return b - a }) // prefer the longest match
		for i, f := range frames {
			for _, n := range lengths {
				if n > len(f.Packet) {
					continue
				}
				as := frameKey{link: f.Link, dir: f.Dir, head: string(withoutChecksums(f.Packet[:n]))}
				if timed {
					as.time = f.Time.UnixNano()
				}
				if w := waiting[as]; len(w) > 0 {
					w[0].frame, waiting[as], found = i, w[1:], true
					break
				}
			}
		}
	}
}

// makeSteps converts the messages about the user's rules to steps. link returns the name of a link, text that of a
// rule.
func makeSteps(kept []tracedAt, frames []packet.Record, link func(int32) string, text func(traced) string) []Step {
	var t tracer
	var steps []Step
	for _, m := range kept {
		p := t.packet(m.traced)
		if m.inOwnTable() || m.isChainEnd() {
			continue
		}
		s := Step{
			Time: m.time, Packet: p.n,
			Family: ruleset.FamilyName(m.Family), Table: m.Table, Chain: m.Chain,
			Handle: m.Handle, Verdict: nfnl.VerdictName(m.Verdict, m.To), State: p.state, Status: p.status,
		}
		switch m.Type {
		case nfnl.TracePolicy:
			s.Kind, s.Verdict = StepPolicy, nfnl.VerdictName(m.Policy, "")
		case nfnl.TraceReturn:
			s.Kind = StepReturn
		default:
			s.Kind, s.Rule = StepRule, text(m.traced)
		}
		steps = append(steps, s)
	}

	// Header and links of a packet are known once all its messages were read.
	seen := make([]*packetFrame, len(t.packets))
	for i, p := range t.packets {
		seen[i] = &packetFrame{link: link(p.link()), dir: p.dir(), header: p.header, dropped: p.dropped}
	}
	findFrames(frames, seen)
	for i := range steps {
		s := &steps[i]
		p := seen[s.Packet]
		s.Link, s.Dir, s.Header = p.link, p.dir, p.header
		if p.frame >= 0 {
			s.Time = frames[p.frame].Time
		}
	}
	return steps
}

// packetHead returns the beginning of a packet from its headers. The kernel reports at most 40 bytes of the network
// header: if it is longer, the transport header does not follow it.
func packetHead(network, transport []byte) []byte {
	v := header.Parse(network)
	if !v.HasHeader() || v.Fault == header.CutExtension || v.Transport != len(network) {
		return network
	}
	return append(network[:len(network):len(network)], transport...)
}

// traced is a message about a traced packet.
type traced nfnl.Trace

// tracedAt is a message with the time at which it was read.
type tracedAt struct {
	traced
	time time.Time
}

func (t traced) inOwnTable() bool { return ours.IsTable(t.Family, t.Table) }

// startsTrace reports whether the message is about the rule of netnsenv that enables tracing for a packet.
func (t traced) startsTrace() bool {
	return t.inOwnTable() && strings.HasPrefix(t.Chain, ours.TracePrefix) && t.Type == nfnl.TraceRule && t.Handle != 0
}

// isChainEnd reports whether the message only says that a chain has no further rule, which the kernel sends before
// the policy or the return (net/netfilter/nf_tables_core.c, nft_do_chain). It is of the type return in older kernels, among
// them 6.1, and of the type rule in later ones (__nft_trace_verdict).
func (t traced) isChainEnd() bool {
	return t.Type != nfnl.TracePolicy && t.Handle == 0 && t.Verdict == nfnl.VerdictContinue
}

// drops reports whether the message says that the packet was dropped.
func (t traced) drops() bool {
	if t.Type == nfnl.TracePolicy {
		return t.Policy == 0
	}
	return t.Verdict >= 0 && t.Verdict&0xff == 0
}

// tracer assigns messages to packets. The kernel's packet id is derived from the address of the packet's buffer,
// which the next packet may reuse (net/netfilter/nf_tables_trace.c, trace_fill_id). An id therefore means the latest
// packet that has it.
type tracer struct {
	packets []*tracedPacket
	latest  map[uint32]*tracedPacket
}

// tracedPacket is a packet that was traced.
type tracedPacket struct {
	n         int
	byOwnRule bool // a rule of netnsenv enabled tracing; otherwise a rule of the user
	in, out   int32
	header    []byte
	seen      map[chainOf]bool // base chains that it met
	dropped   bool
	state     nf.CTState // when it entered the latest base chain
	status    nf.Status
}

// chainOf identifies a chain.
type chainOf struct {
	family       uint8
	table, chain string
}

// packet returns the packet of the next message. A new packet begins at netnsenv's rule; without that rule, when the
// id is new or a base chain is met for the second time, for which the kernel reports the headers again.
func (t *tracer) packet(m traced) *tracedPacket {
	p := t.latest[m.ID]
	chain := chainOf{m.Family, m.Table, m.Chain}
	enters := len(m.Network) > 0
	switch {
	case p == nil, m.startsTrace(), !p.byOwnRule && enters && p.seen[chain]:
		p = &tracedPacket{n: len(t.packets), byOwnRule: m.startsTrace(), seen: map[chainOf]bool{}}
		t.packets = append(t.packets, p)
		if t.latest == nil {
			t.latest = map[uint32]*tracedPacket{}
		}
		t.latest[m.ID] = p
	}
	if enters {
		p.seen[chain] = true
		p.state, p.status = m.State, m.Status // reported together with the headers only
		if p.header == nil {
			p.header, p.in, p.out = packetHead(m.Network, m.Transport), m.In, m.Out
		}
	}
	if p.out == 0 {
		p.out = m.Out
	}
	p.dropped = p.dropped || m.drops()
	return p
}

// dir returns In, or Out for a packet of the host itself.
func (p *tracedPacket) dir() packet.Dir {
	if p.in == 0 {
		return packet.Out
	}
	return packet.In
}

// link returns the index of the link by which the packet came in, or else leaves.
func (p *tracedPacket) link() int32 {
	if p.in == 0 {
		return p.out
	}
	return p.in
}

// tracelog stores the messages about traced packets.
type tracelog struct {
	mu    sync.Mutex
	limit int // of stored messages
	kept  []tracedAt
	names map[string]string // one copy of each name
	heard bool              // there was any message
	lost  lostSteps
}

// maxTraced is the largest number of messages that are kept, about 200 bytes each.
const maxTraced = 500_000

// add stores the messages of one datagram.
func (l *tracelog) add(datagram []byte, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return nfnl.EachTrace(datagram, func(t nfnl.Trace) error {
		m := traced(t)
		l.heard = true
		if m.inOwnTable() && !m.startsTrace() {
			return nil
		}
		if len(l.kept) >= l.limit {
			l.lost.beyond++
			return nil
		}
		m.Table, m.Chain, m.To = l.name(m.Table), l.name(m.Chain), l.name(m.To)
		m.Network, m.Transport = bytes.Clone(m.Network), bytes.Clone(m.Transport)
		l.kept = append(l.kept, tracedAt{m, now})
		return nil
	})
}

func (l *tracelog) name(s string) string {
	if known, ok := l.names[s]; ok {
		return known
	}
	if l.names == nil {
		l.names = map[string]string{}
	}
	l.names[s] = s
	return s
}

// overrun records that messages were lost.
func (l *tracelog) overrun() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost.overruns++
}

// snapshot returns the messages so far, which are not modified later, and what is missing among them.
func (l *tracelog) snapshot() (kept []tracedAt, heard bool, lost lostSteps) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept[:len(l.kept):len(l.kept)], l.heard, l.lost
}

// lostSteps counts what is missing in the trace.
type lostSteps struct {
	overruns uint64 // times the receive buffer was full; how many messages were lost is not known
	beyond   uint64 // messages beyond the limit
}

// String says what is missing and why.
func (l lostSteps) String() string {
	var s []string
	if l.overruns > 0 {
		s = append(s, fmt.Sprintf("the receive buffer was full %d times", l.overruns))
	}
	if l.beyond > 0 {
		s = append(s, fmt.Sprintf("%d exceeded the limit", l.beyond))
	}
	return strings.Join(s, ", ")
}
