package peer

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// TCP is an end of a TCP connection that a test plays: a client, a server, or one that breaks the rules. It keeps
// the numbers, the timestamps and what was negotiated as they really came, and never sends by itself.
//
// Its fields are set before the first segment; what is zero is not offered. It is for one goroutine.
type TCP struct {
	// ISN is its first sequence number; 0 means 1,000,000, of one that knows no destination yet 5,000,000.
	ISN uint32
	// Window is as the header has it; 0 means 65535, for a closed one see Segment.Window.
	Window uint16
	// MSS is the maximum segment size that its SYN names; 0: none.
	MSS uint16
	// Scale is that of the windows that it announces; nil: none.
	Scale *uint8
	// SACK says that its SYN permits selective acknowledgements.
	SACK bool
	// Timestamps says that its SYN offers time stamps.
	Timestamps bool

	by    Sender
	out   string
	inbox *Inbox
	flow  packet.Flow
	isn   uint32 // if ISN says nothing

	next  uint32   // the number of what it sends next, relative
	acked uint32   // up to here the other end has acknowledged, relative
	last  *Segment // the last that takes sequence numbers
	clock uint32   // of its timestamps

	heard    bool // the other end's SYN, and with it its first number
	learnt   Learnt
	window   uint32 // that the other end has announced, in bytes
	expected uint32 // the number of what comes next, relative
	beyond   []span // what came behind a gap
	closed   bool   // the other end's FIN has come
	finished bool   // its own was sent
	recent   uint32 // the last timestamp that came
	rest     []byte // of what Read was not asked for
}

// Learnt is what a TCP has learnt from the other end.
type Learnt struct {
	// ISN is its first sequence number.
	ISN uint32
	// MSS is the maximum segment size that its SYN named; 0: none.
	MSS uint16
	// Scale is that of the windows that it announces, if it HasScale.
	Scale uint8
	// HasScale reports that its SYN had the option.
	HasScale bool
	// SACK reports that its SYN permitted selective acknowledgements.
	SACK bool
	// Timestamps reports that its SYN had the option.
	Timestamps bool
	// Window is that of its last segment, as the header has it.
	Window uint16
}

// NewTCP returns a peer that sends by a Sender, and reads from the inbox what leaves by the link of that name. The source
// of flow is its own address. A server may leave the destination zero: it is the source of the first segment, as that
// looks where it arrives.
func NewTCP(by Sender, link string, inbox *Inbox, flow packet.Flow) *TCP {
	if by == nil || inbox == nil {
		panic("peer: NewTCP without Sender or Inbox")
	}
	p := &TCP{by: by, out: link, inbox: inbox, flow: checkedFlow("NewTCP", flow), isn: 1_000_000}
	if !p.flow.Dst.Addr().IsValid() { // so that the numbers of the two sides differ
		p.isn = 5_000_000
	}
	return p
}

// checkedFlow panics if a peer cannot live at the flow's source.
func checkedFlow(who string, f packet.Flow) packet.Flow {
	f.Src, f.Dst = unmapped(f.Src), unmapped(f.Dst)
	switch {
	case !f.Src.Addr().IsValid() || f.Src.Port() == 0:
		panic(fmt.Sprintf("peer: %s: %v is no source: want address and port", who, f.Src))
	case f.Dst.Addr().IsValid() && f.Dst.Addr().Is4() != f.Src.Addr().Is4():
		panic(fmt.Sprintf("peer: %s: %v: one is IPv4, one IPv6", who, f))
	}
	return f
}

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// Flow returns the flow of what the peer sends, its destination as learnt.
func (p *TCP) Flow() packet.Flow { return p.flow }

// Learnt returns what is known of the other end.
func (p *TCP) Learnt() Learnt { return p.learnt }

// Next returns the number of what the peer sends next, relative to its first.
func (p *TCP) Next() uint32 { return p.next }

// Expected returns the number of what the peer awaits next, relative to the other end's first.
func (p *TCP) Expected() uint32 { return p.expected }

// Reuse makes the peer forget the connection, so that the next one goes over the same addresses and ports. Its numbers
// begin beyond all that the old one could have used.
func (p *TCP) Reuse() {
	const beyond = 1 << 20
	fresh := TCP{
		ISN: p.first() + p.next + beyond, Window: p.Window, MSS: p.MSS, Scale: p.Scale, SACK: p.SACK, Timestamps: p.Timestamps,
		by: p.by, out: p.out, inbox: p.inbox, flow: p.flow, clock: p.clock + 1,
	}
	*p = fresh
}

// first returns the peer's first sequence number.
func (p *TCP) first() uint32 {
	if p.ISN == 0 {
		return p.isn
	}
	return p.ISN
}

// Packet returns what Send would send, and sends nothing: for a test that damages it, keeps it for later, or injects it
// itself. The peer does not count it.
func (p *TCP) Packet(s Segment) packet.Packet {
	flags := s.flags()
	seg := packet.TCP{Flags: flags, Seq: p.first() + p.next, Window: p.Window, Options: s.Options, Payload: s.Payload}
	if s.Seq != nil {
		seg.Seq = p.first() + *s.Seq
	}
	switch {
	case s.Ack != nil:
		seg.Ack = p.learnt.ISN + *s.Ack
	case flags.Contains(packet.FlagACK):
		seg.Ack = p.learnt.ISN + p.expected
	}
	if s.Options == nil {
		seg.Options = p.options(flags)
	}
	if s.Window != nil {
		seg.Window = *s.Window
	}
	pkt := p.flow.TCP(seg)
	if s.Window != nil && *s.Window == 0 {
		return pkt.With(packet.Window(0))
	}
	return pkt
}

// options returns those of a segment: in a SYN what the peer offers, in a SYN+ACK what both offer.
func (p *TCP) options(f packet.TCPFlags) []packet.TCPOption {
	var out []packet.TCPOption
	if f.Contains(packet.FlagSYN) {
		answer := f.Contains(packet.FlagACK) && p.heard
		if p.MSS != 0 {
			out = append(out, packet.MSS(p.MSS))
		}
		if p.SACK && (!answer || p.learnt.SACK) {
			out = append(out, packet.SACKPermitted())
		}
		if p.Timestamps && (!answer || p.learnt.Timestamps) {
			out = append(out, p.timestamps(answer))
		}
		if p.Scale != nil && (!answer || p.learnt.HasScale) {
			out = append(out, packet.WindowScale(*p.Scale))
		}
		return out
	}
	if p.Timestamps && p.learnt.Timestamps && !f.Contains(packet.FlagRST) {
		out = append(out, packet.NOP(), packet.NOP(), p.timestamps(f.Contains(packet.FlagACK)))
	}
	return out
}

func (p *TCP) timestamps(echo bool) packet.TCPOption {
	const base = 1_000_000
	if !echo {
		return packet.Timestamps(base+p.clock, 0)
	}
	return packet.Timestamps(base+p.clock, p.recent)
}

// segment returns the segment in a packet of the peer's flow; false if it is none, or one whose header claims too much.
func (p *TCP) segment(r packet.Record) (seg packet.TCP, ok bool) {
	if r.Link != p.out || !isAnswer(p.flow, r.Packet.Tuple()) {
		return seg, false
	}
	seg, ok = r.Packet.TCP()
	return seg, ok && seg.Payload != nil
}

// isAnswer reports whether a packet comes back on f. An address or port that f does not have is any.
func isAnswer(f packet.Flow, t nf.Tuple) bool {
	return t.Dst == f.Src &&
		(!f.Dst.Addr().IsValid() || f.Dst.Addr() == t.Src.Addr()) &&
		(f.Dst.Port() == 0 || f.Dst.Port() == t.Src.Port())
}

// Send sends a segment and returns it. What begins at the peer's next number moves that number on; what begins elsewhere,
// such as an old segment or one out of the window, does not.
func (p *TCP) Send(ctx context.Context, s Segment) (packet.Packet, error) {
	if !p.flow.Dst.Addr().IsValid() || p.flow.Dst.Port() == 0 {
		return nil, fmt.Errorf("send from %v: the destination is not known yet", p.flow.Src)
	}
	pkt := p.Packet(s)
	p.clock++
	out := []packet.Packet{pkt}
	if s.As != nil {
		out = s.As(slices.Clone(pkt))
	}
	if s.Seq == nil || *s.Seq == p.next {
		if n := s.space(); n > 0 {
			again := s
			again.Seq, again.Flags, again.As = new(p.next), s.flags(), nil
			p.last = &again
			p.next += n
			p.finished = p.finished || again.Flags.Contains(packet.FlagFIN)
		}
	}
	_, err := p.by.Send(ctx, packet.Packets(out...))
	return pkt, err
}

// Write sends data, in segments of at most the size that the other end has named, and waits for nothing.
func (p *TCP) Write(ctx context.Context, data []byte) error {
	const unnamed = 536 // RFC 9293, 3.7.1; it is less than IPv6 would allow
	size := int(p.learnt.MSS)
	if size == 0 {
		size = unnamed
	}
	if p.Timestamps && p.learnt.Timestamps {
		size -= 12
	}
	for part := range slices.Chunk(data, max(size, 1)) {
		if _, err := p.Send(ctx, Segment{Payload: part}); err != nil {
			return err
		}
	}
	return nil
}

// Ack acknowledges all that was taken so far.
func (p *TCP) Ack(ctx context.Context) error { return p.send(ctx, Segment{}) }

// Fin closes the peer's direction; the other one stays open.
func (p *TCP) Fin(ctx context.Context) error {
	return p.send(ctx, Segment{Flags: packet.FlagFIN | packet.FlagACK})
}

// Retransmit sends the last segment again that had data, SYN or FIN, with the acknowledgement and the timestamps of now.
func (p *TCP) Retransmit(ctx context.Context) error {
	if p.last == nil {
		return errors.New("retransmit: nothing was sent yet")
	}
	return p.send(ctx, *p.last)
}

// ResetKind says where a reset stands in the other end's window.
type ResetKind uint8

// The kinds of reset, by their sequence number: the next one, which closes; one in the middle of the window; one far
// beyond it.
const (
	ResetExact ResetKind = iota
	ResetInWindow
	ResetOutOfWindow
)

// String returns "exact", "in window", "out of window".
func (k ResetKind) String() string {
	switch k {
	case ResetExact:
		return "exact"
	case ResetInWindow:
		return "in window"
	case ResetOutOfWindow:
		return "out of window"
	}
	return fmt.Sprintf("ResetKind(%d)", uint8(k))
}

// Reset sends an RST.
func (p *TCP) Reset(ctx context.Context, kind ResetKind) error {
	seq := p.next
	switch kind {
	default:
		panic(fmt.Sprintf("peer: Reset: there is no %v", kind))
	case ResetExact:
	case ResetInWindow:
		if p.window < 2 {
			return fmt.Errorf("reset: the window of the other end is %d: nothing is inside", p.window)
		}
		seq += p.window / 2
	case ResetOutOfWindow:
		seq += 2*p.window + 1<<16
	}
	return p.send(ctx, Segment{Flags: packet.FlagRST, Seq: &seq})
}

// scale returns how the windows of the other end are to be read.
func (p *TCP) scale() uint8 {
	if p.Scale == nil || !p.learnt.HasScale {
		return 0
	}
	return min(p.learnt.Scale, 14) // RFC 7323, 2.3
}

func (p *TCP) send(ctx context.Context, s Segment) error {
	_, err := p.Send(ctx, s)
	return err
}

// isNew fails if the peer has begun a connection already.
func (p *TCP) isNew() error {
	switch {
	case p.heard && p.next > 0:
		return fmt.Errorf("%v is already connected; Reuse begins anew", p.flow)
	case p.heard:
		return fmt.Errorf("%v has already taken a SYN; Reuse begins anew", p.flow)
	case p.next > 0:
		return fmt.Errorf("%v has already sent a SYN; Reuse begins anew", p.flow)
	}
	return nil
}

// Connect opens a connection: SYN, the SYN+ACK is expected, ACK. A peer that has had one needs Reuse before, here and where
// else a connection is opened.
func (p *TCP) Connect(ctx context.Context) error {
	if err := p.isNew(); err != nil {
		return err
	}
	if err := p.send(ctx, Segment{Flags: packet.FlagSYN}); err != nil {
		return err
	}
	if _, err := p.Expect(ctx, Segment{Flags: packet.FlagSYN | packet.FlagACK, Ack: new(p.next)}); err != nil {
		return err
	}
	return p.Ack(ctx)
}

// Accept lets another end connect: a SYN is expected, SYN+ACK, the ACK is expected. The peer's flow then has the source
// that came, as it looks here, behind any NAT.
func (p *TCP) Accept(ctx context.Context) error {
	if err := p.isNew(); err != nil {
		return err
	}
	if _, err := p.Expect(ctx, Segment{Flags: packet.FlagSYN}); err != nil {
		return err
	}
	if err := p.send(ctx, Segment{Flags: packet.FlagSYN | packet.FlagACK}); err != nil {
		return err
	}
	return p.ExpectAck(ctx)
}

// SimultaneousOpen expects a SYN and answers with one of its own that acknowledges nothing, as if both had been under way
// at once; then the SYN+ACK is expected, ACK.
func (p *TCP) SimultaneousOpen(ctx context.Context) error {
	if err := p.isNew(); err != nil {
		return err
	}
	if _, err := p.Expect(ctx, Segment{Flags: packet.FlagSYN}); err != nil {
		return err
	}
	if err := p.send(ctx, Segment{Flags: packet.FlagSYN}); err != nil {
		return err
	}
	again := Segment{Flags: packet.FlagSYN | packet.FlagACK, Seq: new(uint32(0)), Ack: new(p.next)}
	if _, err := p.Expect(ctx, again); err != nil {
		return err
	}
	return p.Ack(ctx)
}

// Close closes the connection: FIN, and unless that of the other end was taken before it is expected and acknowledged; the
// peer's own is expected to be acknowledged. That takes another end that answers by itself, such as a socket of the host or a
// script in another goroutine: for two peers in one there is Teardown.
func (p *TCP) Close(ctx context.Context) error {
	if err := p.Fin(ctx); err != nil {
		return err
	}
	if !p.closed {
		if _, err := p.Expect(ctx, Segment{Flags: packet.FlagFIN | packet.FlagACK}); err != nil {
			return err
		}
		if err := p.Ack(ctx); err != nil {
			return err
		}
	}
	return p.ExpectAck(ctx)
}

// Read returns the next n bytes that come, in segments of whatever size, and acknowledges each of these; with n < 0 all until
// the other end closes its direction.
func (p *TCP) Read(ctx context.Context, n int) ([]byte, error) {
	for n < 0 && !p.closed || len(p.rest) < n {
		if p.closed {
			return p.rest, fmt.Errorf("read: %d of %d bytes, then the other end has closed", len(p.rest), n)
		}
		before := p.expected
		pkt, err := p.Expect(ctx, Segment{})
		if err != nil && n > 0 {
			err = fmt.Errorf("read: %d of %d bytes, then: %w", len(p.rest), n, err)
		}
		if err != nil {
			return p.rest, err
		}
		seg, _ := pkt.TCP()
		s := p.relative(seg)
		switch {
		case s.Flags.Contains(packet.FlagRST):
			return p.rest, fmt.Errorf("read: %d bytes, then a reset: %v", len(p.rest), pkt)
		case isAfter(s.Seq, before) && space(s.Flags, len(s.Payload)) > 0:
			return p.rest, fmt.Errorf("read: %d bytes, then a gap of %d", len(p.rest), s.Seq-before)
		case p.expected == before:
			continue // an acknowledgement
		}
		p.rest = append(p.rest, s.Payload[min(int(before-s.Seq), len(s.Payload)):]...)
		if err := p.Ack(ctx); err != nil {
			return p.rest, err
		}
	}
	if n < 0 {
		n = len(p.rest)
	}
	out := slices.Clone(p.rest[:n])
	p.rest = p.rest[n:]
	return out, nil
}
