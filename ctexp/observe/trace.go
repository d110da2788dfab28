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
	"github.com/ctexp/go-ctexp/internal/ruleset"
)

// Step is what became of a traced packet at one of the user's rules of nftables, or at the end of a chain. Rules of
// iptables-nft are such; those of iptables-legacy are not traced.
type Step struct {
	// Time is that of the packet's frame, of all its steps the same, or where there is none, when the Observer read the step.
	Time time.Time
	// Packet tells the packets apart: from 0 in the order in which their traces begin. A packet that meets no rule has a
	// number and no step. The steps of a packet stand in the order in which it took them; those of another may stand
	// between them that was sent on its account, such as the RST of a reject.
	Packet int
	Link   string     // by which the packet came in; of the host's own packets, by which it leaves; may be empty
	Dir    packet.Dir // In, or Out for the host's own packets
	// Header is the beginning of the packet when its trace began: its IP header and up to 20 bytes of the next.
	Header []byte

	Family, Table, Chain string // as nft calls them: "inet", "filter", "input"
	Kind                 StepKind
	Handle               uint64 // the kernel's number of the rule; 0 at the end of a chain
	Rule                 string // text of the rule (see Rule.Text); empty at the end of a chain, or if it is gone
	Verdict              string // as nft says it: "accept", "drop", "continue", "jump web", "return"
	// State is the class that conntrack had put the packet into when it came to the base chain, and Status the bits of its
	// entry; zero before conntrack, for an INVALID packet, and where the kernel does not tell (before 6.16).
	State  nf.CTState
	Status nf.Status
}

// StepKind is what a Step was taken at.
type StepKind string

// The kinds of steps.
const (
	StepRule   StepKind = "rule"
	StepReturn StepKind = "return" // the end of a chain that was jumped to
	StepPolicy StepKind = "policy" // the end of a base chain
)

// Dropped reports whether the packet ended here.
func (s Step) Dropped() bool { return s.Verdict == verdictDrop }

// verdictDrop is the Verdict of a step that drops.
const verdictDrop = "drop"

// Cause returns the rule or the policy of a step that dropped the packet, as the cause of that.
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
	return b.String()
}

// brief is the step without its packet.
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

// StepsOf tells which steps belong to which frame: of[i] has those of the packet that came in with frames[i], or, of the
// host's own packets, left with it. Of several frames that are alike the time decides, which the steps have from their
// frame; if that agrees nowhere, the order: the first belongs to the packet that was traced first, and so on. That a
// packet was forwarded with another frame does not count. What fits no frame is the rest: packets that were dropped before
// they left, that a rule has changed, or that were not captured.
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

// packetFrame is a traced packet and the frame in which it was seen.
type packetFrame struct {
	link    string
	dir     packet.Dir
	header  []byte
	time    time.Time // of its frame, if that is known
	dropped bool
	frame   int // its index, or -1
}

// frameKey is what a packet and its frame have in common.
type frameKey struct {
	link string
	dir  packet.Dir
	head string // without checksums
	time int64  // in nanoseconds; 0: any
}

// sight finds the frames of packets, which stand in the order of their traces: by the time, or if that agrees nowhere, by
// the order.
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
			if len(p.header) == 0 || p.dir == packet.Out && p.dropped { // what is dropped in the end has not left
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
		slices.SortFunc(lengths, func(a, b int) int { return b - a }) // the more that agrees the better
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

// makeSteps turns the messages about the user's rules into steps. Function link names a link, text a rule.
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

	// What a packet looked like and where it went is known when all is told.
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

// packetHead returns the beginning of a packet from its headers. Of the network header the kernel tells 40 bytes at most:
// where there is more of it the transport header does not follow.
func packetHead(network, transport []byte) []byte {
	v := header.Parse(network)
	if !v.HasHeader() || v.Fault == header.CutExtension || v.Transport != len(network) {
		return network
	}
	return append(network[:len(network):len(network)], transport...)
}

// traced is a message about a traced packet.
type traced nfnl.Trace

// tracedAt is a message and when it was read.
type tracedAt struct {
	traced
	time time.Time
}

func (t traced) inOwnTable() bool { return t.Table == ours.Table }

// begins reports whether the message is that of the rule by which netnsenv has a packet traced.
func (t traced) startsTrace() bool {
	return t.inOwnTable() && strings.HasPrefix(t.Chain, ours.TracePrefix) && t.Type == nfnl.TraceRule && t.Handle != 0
}

// isChainEnd reports whether the message says no more than that a chain has no further rule, as the kernel does before it tells
// the policy or the return (net/netfilter/nf_tables_core.c, nft_do_chain).
func (t traced) isChainEnd() bool {
	return t.Type == nfnl.TraceRule && t.Handle == 0 && t.Verdict == nfnl.VerdictContinue
}

// drops reports whether it is the end of the packet.
func (t traced) drops() bool {
	if t.Type == nfnl.TracePolicy {
		return t.Policy == 0
	}
	return t.Verdict >= 0 && t.Verdict&0xff == 0
}

// tracer tells which packet a message is about. The kernel's number of a packet is made of the address of its buffer, which
// the next packet gets (net/netfilter/nf_tables_trace.c, trace_fill_id), so that a number means the latest packet that
// has it.
type tracer struct {
	packets []*tracedPacket
	latest  map[uint32]*tracedPacket
}

// tracedPacket is a packet that was traced.
type tracedPacket struct {
	n         int
	byOwnRule bool // by netnsenv's rule; else by a rule of the user's
	in, out   int32
	header    []byte
	seen      map[chainOf]bool // base chains that it met
	dropped   bool
	state     nf.CTState // as told when it entered the latest base chain
	status    nf.Status
}

// chainOf names a chain.
type chainOf struct {
	family       uint8
	table, chain string
}

// packet returns the packet of the next message. A new one begins where netnsenv's rule says so; without it where the
// number is new or a base chain is met for the second time, in which the kernel tells the headers anew.
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
		p.state, p.status = m.State, m.Status // with the headers, and with no other message
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

// dir returns In, or Out for a packet of the host's own.
func (p *tracedPacket) dir() packet.Dir {
	if p.in == 0 {
		return packet.Out
	}
	return packet.In
}

// link returns the index of the link that the packet came in by, or else leaves by.
func (p *tracedPacket) link() int32 {
	if p.in == 0 {
		return p.out
	}
	return p.in
}

// tracelog is what the kernel told of traced packets so far.
type tracelog struct {
	mu    sync.Mutex
	limit int // of messages kept
	kept  []tracedAt
	names map[string]string // one copy of each name
	heard bool              // there was a message at all
	lost  lostSteps
}

// maxTraced bounds what is kept, some 200 bytes each.
const maxTraced = 500_000

// add keeps what one datagram tells.
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

// overrun says that there was no room for something.
func (l *tracelog) overrun() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost.overruns++
}

// snapshot returns the messages so far, which later ones do not change, and what is missing among them.
func (l *tracelog) snapshot() (kept []tracedAt, heard bool, lost lostSteps) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept[:len(l.kept):len(l.kept)], l.heard, l.lost
}

// lostSteps counts what is missing in the trace.
type lostSteps struct {
	overruns uint64 // times that the receive buffer was full; how many found it so nobody knows
	beyond   uint64 // messages that came when the limit was reached
}

// String says what is missing and why.
func (l lostSteps) String() string {
	var s []string
	if l.overruns > 0 {
		s = append(s, fmt.Sprintf("the receive buffer was full %d times", l.overruns))
	}
	if l.beyond > 0 {
		s = append(s, fmt.Sprintf("%d came when as many were kept as fit", l.beyond))
	}
	return strings.Join(s, ", ")
}
