package peer

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
)

// Segment is a TCP segment to send or to expect. Its numbers are relative to the initial sequence number of each side, as in
// packetdrill: the SYN is 0, the first byte of data 1. A nil number is the right one when sending, and any when expecting.
type Segment struct {
	// Flags are the exact flags, except that expectations ignore PSH, which does not affect a receiver. Zero sends ACK, or
	// PSH and ACK with data, and expects any.
	Flags packet.TCPFlags
	// Seq is relative to the sender's ISN, Ack to the receiver's.
	Seq, Ack *uint32
	// Window is the window as in the header, not scaled; nil sends TCP.Window, and expects any.
	Window *uint16
	// Options are sent exactly; nil sends those negotiated. Expected options must be there with this data, among others.
	Options []packet.TCPOption
	// Payload is the data; nil expects any, []byte{} none.
	Payload []byte
	// As returns the packets to send instead of the segment: its fragments, a damaged copy, two copies, none. The peer counts
	// the segment as sent in any case. Expect ignores As.
	As func(packet.Packet) []packet.Packet
}

// flags returns the flags to send.
func (s Segment) flags() packet.TCPFlags {
	switch {
	case s.Flags != 0:
		return s.Flags
	case len(s.Payload) > 0:
		return packet.FlagPSH | packet.FlagACK
	}
	return packet.FlagACK
}

// space returns how many sequence numbers the segment occupies.
func (s Segment) space() uint32 { return space(s.flags(), len(s.Payload)) }

func space(f packet.TCPFlags, payload int) uint32 {
	n := uint32(payload)
	if f.Contains(packet.FlagSYN) {
		n++
	}
	if f.Contains(packet.FlagFIN) {
		n++
	}
	return n
}

// match returns the Match of s for a segment with relative numbers.
func (s Segment) match() packet.Match {
	m := packet.Match{Flags: s.Flags, Seq: s.Seq, Ack: s.Ack, Window: s.Window, Options: s.Options, Payload: s.Payload}
	if s.Flags != 0 {
		m.FlagsMask = ^packet.FlagPSH
	}
	return m
}

// Expect takes the next segment of the peer's flow, which must match s, and waits for it until ctx is done.
//
// Two kinds of segments have nothing new and are skipped if they do not match: retransmissions of what was already taken,
// unless s has their Seq, and pure acknowledgements, which later ones include. Any other segment that does not match s is an
// error at once. So is an ICMP error (unreachable, time exceeded, parameter problem) about data that the peer has sent and
// the other end has not acknowledged, unless the expected segment has already arrived. Both stay unread. Other flows are
// ignored.
func (p *TCP) Expect(ctx context.Context, s Segment) (packet.Packet, error) {
	return p.expect(ctx, s, nil)
}

// expect is Expect. If from is not nil, it is the peer that has sent the expected segment: a reset or an ICMP error to that
// peer also ends the expectation.
func (p *TCP) expect(ctx context.Context, s Segment, from *TCP) (packet.Packet, error) {
	if err := p.inbox.checkLink(p.link); err != nil {
		return nil, err
	}
	r, h, err := p.inbox.await(ctx, func(r packet.Record) verdict {
		seg, mine := p.segment(r)
		switch {
		case p.isRefused(r), from != nil && (from.isRefused(r) || from.isReset(r)):
			return giveUp
		case !mine:
			return leave
		}
		repeated := p.isRepeated(p.relative(seg))
		switch fits := p.compare(s, r, seg).Differing() == 0; {
		case fits && (!repeated || s.Seq != nil):
			p.take(r, seg)
			return take
		case (repeated || isPureAck(seg)) && r.Packet.ChecksumError() == nil:
			p.learn(seg)
			p.passOver(r, repeated)
			return skip
		}
		return refuse
	})
	if err != nil {
		return nil, h.failure(fmt.Sprintf("no such segment to %v", p.flow.Src), err, p.expectation(s))
	}
	return r.Packet, nil
}

// ExpectAck waits until everything that the peer has sent is acknowledged by any segment of its flow. A segment with data, SYN
// or FIN stays unread.
func (p *TCP) ExpectAck(ctx context.Context) error {
	done := func() bool { return !isAfter(p.next, p.acked) }
	if done() {
		return nil
	}
	if err := p.inbox.checkLink(p.link); err != nil {
		return err
	}
	_, h, err := p.inbox.await(ctx, func(r packet.Record) verdict {
		seg, mine := p.segment(r)
		switch {
		case p.isRefused(r):
			return giveUp
		case !mine:
			return leave
		}
		got, pure := p.relative(seg), isPureAck(seg)
		switch {
		case got.Flags.Contains(packet.FlagRST) || r.Packet.ChecksumError() != nil:
			return refuse
		case pure:
			p.learn(seg)
		case got.Flags.Contains(packet.FlagACK) && isAfter(got.Ack, p.acked):
			p.acked = got.Ack
		}
		switch {
		case done() && pure:
			return take
		case done():
			return found
		case pure:
			return skip
		}
		return leave
	})
	if err != nil {
		return h.failure(fmt.Sprintf("no acknowledgement of %d to %v", p.next, p.flow.Src), err, p.expectation(Segment{Ack: new(p.next)}))
	}
	return nil
}

// isRefused reports whether a packet is an ICMP error about a segment that the other end has not acknowledged and so has not
// received.
func (p *TCP) isRefused(r packet.Record) bool {
	if r.Link != p.link || !isFatal(r.Packet) {
		return false
	}
	t, seq, ok := quotedTCP(r.Packet.Quoted())
	if !ok || t.Src != p.flow.Src || t.Dst != p.flow.Dst {
		return false
	}
	seq -= p.first()
	return !isAfter(p.acked, seq) && !isAfter(seq, p.next)
}

// isReset reports whether a packet is a reset that ends the peer's connection.
func (p *TCP) isReset(r packet.Record) bool {
	seg, mine := p.segment(r)
	return mine && seg.Flags.Contains(packet.FlagRST) && (!seg.Flags.Contains(packet.FlagACK) || seg.Ack-p.first() == p.next)
}

// quotedTCP returns the tuple and the sequence number of a quoted segment, of which 8 bytes are enough (RFC 792).
func quotedTCP(quote packet.Packet) (nf.Tuple, uint32, bool) {
	v := header.Parse(quote)
	l4 := v.Body(quote)
	if v.Proto != header.ProtoTCP || len(l4) < 8 {
		return nf.Tuple{}, 0, false
	}
	return quote.Tuple(), binary.BigEndian.Uint32(l4[4:]), true
}

// expectation returns the expectation of s, for the error.
func (p *TCP) expectation(s Segment) expectation {
	m := s.match()
	m.Out, m.Proto, m.Src, m.Dst = p.link, nf.TCP, p.flow.Dst, p.flow.Src
	elsewhere := m
	elsewhere.Seq, elsewhere.Ack = nil, nil // of another flow, whose ISNs are not known
	return expectation{
		compare: func(r packet.Record) packet.Rows {
			if seg, mine := p.segment(r); mine {
				return p.compare(s, r, seg)
			}
			return nil
		},
		elsewhere: func(r packet.Record) packet.Rows {
			if r.Packet.Tuple().Src == p.flow.Src { // sent by the peer itself
				return nil
			}
			return elsewhere.Compare(r)
		},
		wanted:  m.Wanted(),
		line:    p.line,
		numbers: fmt.Sprintf("; numbers of %v relative", p.flow.Src),
	}
}

// passOver notes a retransmission that an expectation skips.
func (p *TCP) passOver(r packet.Record, repeated bool) {
	if repeated {
		r.Number = 0
		p.passed = append(p.passed, r)
	}
}

// ExpectNothing fails if a segment of the peer's flow is unread after the host has processed everything sent to it, an
// acknowledgement or a retransmission as well. It passes over retransmissions of what the peer has acknowledged: they
// have crossed the acknowledgement, and whether there are any depends on timers and scheduling. A host retransmits what
// was not acknowledged, after 200 ms or later; Ack prevents it, and PassRetransmitted passes over it. Bytes that came with those of a
// Read, and that nobody has read, are an error, too.
func (p *TCP) ExpectNothing(ctx context.Context) error {
	if err := p.inbox.checkLink(p.link); err != nil {
		return err
	}
	if n := len(p.rest); n > 0 {
		return fmt.Errorf("no segment to %v was expected: %d bytes of the last one that Read took were not read: %q", p.flow.Src, n, p.rest[:min(n, 64)])
	}
	what := fmt.Sprintf("no segment to %v was expected", p.flow.Src)
	var over []packet.Record
	err := p.inbox.expectNone(ctx, what, []packet.Match{{Tuple: p.flow.Reverse().Tuple(nf.TCP)}}, func(r packet.Record) bool {
		seg, mine := p.segment(r)
		s := p.relative(seg)
		acknowledged := !isAfter(s.Seq+space(s.Flags, len(s.Payload)), p.told)
		if mine && p.isRepeated(s) && (acknowledged || p.PassRetransmitted) {
			over = append(over, r)
			return false
		}
		return mine
	})
	if err == nil {
		p.inbox.take(over)
		for _, r := range over {
			p.passOver(r, true)
		}
	}
	return err
}

// compare compares a segment with s. Unless s has a Seq, only new data counts: a retransmission may include more than the
// original segment (net/ipv4/tcp_output.c, tcp_retrans_try_collapse).
func (p *TCP) compare(s Segment, r packet.Record, seg packet.TCP) packet.Rows {
	got := p.relative(seg)
	if old := p.expected - got.Seq; s.Seq == nil && p.gotSYN && !isAfter(0, got.Seq) && isAfter(p.expected, got.Seq) && old < uint32(len(got.Payload)) {
		got.Seq, got.Payload = p.expected, got.Payload[old:]
	}
	relative := r
	relative.Packet = r.Packet.With(packet.Seq(got.Seq), packet.Ack(got.Ack), packet.Payload(got.Payload))
	rows := s.match().Compare(relative)
	addChecksum(&rows, r.Packet)
	return rows
}

// relative returns a received segment with relative numbers.
func (p *TCP) relative(s packet.TCP) packet.TCP {
	switch {
	case p.gotSYN:
		s.Seq -= p.learnt.ISN
	case s.Flags.Contains(packet.FlagSYN):
		s.Seq = 0
	}
	if s.Flags.Contains(packet.FlagACK) {
		s.Ack -= p.first()
	}
	return s
}

// isRepeated reports whether a segment with relative numbers occupies sequence numbers that were all received before. A SYN of
// another connection does not count.
func (p *TCP) isRepeated(s packet.TCP) bool {
	n := space(s.Flags, len(s.Payload))
	if n == 0 || s.Flags.Contains(packet.FlagRST) || !p.gotSYN || isAfter(0, s.Seq) || s.Flags.Contains(packet.FlagSYN) && s.Seq != 0 {
		return false
	}
	return !isAfter(s.Seq+n, p.expected) || slices.ContainsFunc(p.outOfOrder, func(b span) bool {
		return !isAfter(b.from, s.Seq) && !isAfter(s.Seq+n, b.to)
	})
}

// isPureAck reports whether a segment is an acknowledgement without data, SYN, FIN or RST.
func isPureAck(s packet.TCP) bool {
	return s.Flags.Contains(packet.FlagACK) && !s.Flags.Contains(packet.FlagRST) && space(s.Flags, len(s.Payload)) == 0
}

// take learns from a segment and marks its sequence numbers as received.
func (p *TCP) take(r packet.Record, seg packet.TCP) {
	p.flow.Dst = r.Packet.Tuple().Src
	p.learn(seg)
	s := p.relative(seg)
	n := space(s.Flags, len(s.Payload))
	if n == 0 || s.Flags.Contains(packet.FlagRST) {
		return
	}
	p.closed = p.closed || s.Flags.Contains(packet.FlagFIN)
	p.outOfOrder = append(p.outOfOrder, span{s.Seq, s.Seq + n})
	for moved := true; moved; {
		moved = false
		p.outOfOrder = slices.DeleteFunc(p.outOfOrder, func(b span) bool {
			if isAfter(b.from, p.expected) {
				return false
			}
			if isAfter(b.to, p.expected) {
				p.expected, moved = b.to, true
			}
			return true
		})
	}
}

// learn records the options, the window, the acknowledgement and the timestamp of a segment.
func (p *TCP) learn(s packet.TCP) {
	if s.Flags.Contains(packet.FlagSYN) && !p.gotSYN {
		p.gotSYN = true
		p.learnt = learntFrom(s)
	}
	p.learnt.Window, p.window = s.Window, uint32(s.Window)
	if !s.Flags.Contains(packet.FlagSYN) { // RFC 7323, 2.2: the window of a SYN is never scaled
		p.window <<= p.scale()
	}
	if s.Flags.Contains(packet.FlagACK) && isAfter(s.Ack-p.first(), p.acked) {
		p.acked = s.Ack - p.first()
	}
	if clocks, ok := option(s, packet.OptionTimestamps, 8); ok {
		if val := binary.BigEndian.Uint32(clocks); s.Flags.Contains(packet.FlagSYN) || isAfter(val, p.recent) {
			p.recent = val
		}
	}
}

// learntFrom returns the ISN and the options of a SYN.
func learntFrom(s packet.TCP) Learnt {
	l := Learnt{ISN: s.Seq}
	if b, ok := option(s, packet.OptionMSS, 2); ok {
		l.MSS = binary.BigEndian.Uint16(b)
	}
	if b, ok := option(s, packet.OptionWindowScale, 1); ok {
		l.Scale, l.HasScale = b[0], true
	}
	_, l.SACK = option(s, packet.OptionSACKPermitted, 0)
	_, l.Timestamps = option(s, packet.OptionTimestamps, 8)
	return l
}

// option returns the data of the first option of this kind and length.
func option(s packet.TCP, kind uint8, length int) ([]byte, bool) {
	for _, o := range s.Options {
		if o.Kind == kind && len(o.Data) == length {
			return o.Data, true
		}
	}
	return nil, false
}

// line prints a packet. Segments to the peer, and its own that the host has forwarded, have relative numbers.
func (p *TCP) line(r packet.Record) string {
	seg, isTCP := r.Packet.TCP()
	t := r.Packet.Tuple()
	if _, mine := p.segment(r); mine {
		s := p.relative(seg)
		r.Packet = r.Packet.With(packet.Seq(s.Seq), packet.Ack(s.Ack))
	} else if isTCP && t.Src == p.flow.Src && t.Dst == p.flow.Dst {
		if seg.Flags.Contains(packet.FlagACK) {
			seg.Ack -= p.learnt.ISN
		}
		r.Packet = r.Packet.With(packet.Seq(seg.Seq-p.first()), packet.Ack(seg.Ack))
	}
	return line(r)
}

// isAfter reports whether sequence number a is later than b.
func isAfter(a, b uint32) bool { return int32(a-b) > 0 }

// span is the range [from, to) of sequence numbers.
type span struct{ from, to uint32 }

// pairStep is one step of two peers.
type pairStep struct {
	who  *TCP
	from *TCP   // the sender of the segment that who expects; nil if who sends it
	name string // of who, for errors
	what Segment
}

// Handshake opens a connection between two peers, with a router between them: the six steps of both, in their order. The error
// names the step that failed. A reset or an ICMP error (see TCP.Expect) to one of them also ends the step of the other.
func Handshake(ctx context.Context, client, server *TCP) error {
	if client == nil || server == nil {
		panic("peer: Handshake of a nil TCP")
	}
	for _, p := range []*TCP{client, server} {
		if err := p.checkNew(); err != nil {
			return err
		}
	}
	return play(ctx, []pairStep{
		{client, nil, "client", Segment{Flags: packet.FlagSYN}},
		{server, client, "server", Segment{Flags: packet.FlagSYN}},
		{server, nil, "server", Segment{Flags: packet.FlagSYN | packet.FlagACK}},
		{client, server, "client", Segment{Flags: packet.FlagSYN | packet.FlagACK, Ack: new(uint32(1))}},
		{client, nil, "client", Segment{Flags: packet.FlagACK}},
		{server, client, "server", Segment{Flags: packet.FlagACK, Ack: new(uint32(1))}},
	})
}

// Teardown closes a connection between two peers, with a router between them: the FIN of the first, the FIN of the second, and
// their acknowledgements. It omits steps that were already done, as after a half close.
func Teardown(ctx context.Context, first, second *TCP) error {
	if first == nil || second == nil {
		panic("peer: Teardown of a nil TCP")
	}
	fin, ack := Segment{Flags: packet.FlagFIN | packet.FlagACK}, Segment{Flags: packet.FlagACK}
	var steps []pairStep
	add := func(needed bool, s pairStep) {
		if needed {
			steps = append(steps, s)
		}
	}
	add(!first.finished, pairStep{first, nil, "first", fin})
	add(!second.closed, pairStep{second, first, "second", fin})
	if second.finished {
		steps = append(steps, pairStep{second, nil, "second", ack})
	} else {
		steps = append(steps, pairStep{second, nil, "second", fin})
	}
	if !first.closed {
		steps = append(steps, pairStep{first, second, "first", fin}, pairStep{first, nil, "first", ack})
	}
	if err := play(ctx, steps); err != nil {
		return err
	}
	for _, p := range []*TCP{first, second} {
		if err := p.ExpectAck(ctx); err != nil {
			return err
		}
	}
	return nil
}

func play(ctx context.Context, steps []pairStep) error {
	for i, s := range steps {
		verb, err := "expects", error(nil)
		if s.from == nil {
			verb = "sends"
			_, err = s.who.Send(ctx, s.what)
		} else {
			_, err = s.who.expect(ctx, s.what, s.from)
		}
		if err != nil {
			return fmt.Errorf("step %d of %d, the %s %s [%v]: %w", i+1, len(steps), s.name, verb, s.what.Flags, err)
		}
	}
	return nil
}
