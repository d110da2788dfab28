package peer

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
)

// Expect takes the next segment of the peer's flow, which must be as s says, and waits for it until ctx ends.
//
// It passes over what says nothing new: segments whose data, SYN and FIN were all taken before, as a timer of the host
// sends them, unless s names their Seq; and acknowledgements without anything else, which later ones include. Any other
// segment that is not as s says ends it at once, and so does an ICMP error about what the peer has sent and the other end has
// not acknowledged, unless the segment is there already: unreachable, time exceeded, parameter problem. Both stay unread. Other
// flows are not looked at.
func (p *TCPPeer) Expect(ctx context.Context, s Segment) (packet.Packet, error) {
	return p.expect(ctx, s, nil)
}

// expect is Expect where it is known who is to send the segment, if from is not nil: if that peer cannot go on, it ends.
func (p *TCPPeer) expect(ctx context.Context, s Segment, from *TCPPeer) (packet.Packet, error) {
	if err := p.inbox.knowsLink(p.out); err != nil {
		return nil, err
	}
	a, seen, err := p.inbox.await(ctx, func(a packet.Arrival) verdict {
		d := packet.Dissect(a.Packet)
		switch {
		case p.isRefused(a, d), from != nil && (from.isRefused(a, d) || from.isReset(a, d)):
			return doubt
		case !p.mine(a, d):
			return leave
		}
		got := p.relative(*d.Tcp)
		repeated, bare := p.repeated(got, len(d.Data)), isBare(got, len(d.Data))
		switch fits := packet.Differing(p.compare(s, d)) == 0; {
		case fits && (!repeated || s.Seq != nil):
			p.take(d)
			return take
		case d.Fault == nil && (repeated || bare):
			p.learn(d)
			return pass
		}
		return refuse
	})
	if err != nil {
		return nil, seen.unmet(fmt.Sprintf("no such segment to %v", p.flow.Src), err, p.wanted(s))
	}
	return a.Packet, nil
}

// ExpectAck waits until all that the peer has sent is acknowledged, by whatever segment of its flow. One with data, SYN or
// FIN stays unread.
func (p *TCPPeer) ExpectAck(ctx context.Context) error {
	done := func() bool { return !isAfter(p.next, p.acked) }
	if done() {
		return nil
	}
	if err := p.inbox.knowsLink(p.out); err != nil {
		return err
	}
	_, seen, err := p.inbox.await(ctx, func(a packet.Arrival) verdict {
		d := packet.Dissect(a.Packet)
		switch {
		case p.isRefused(a, d):
			return doubt
		case !p.mine(a, d):
			return leave
		}
		got := p.relative(*d.Tcp)
		bare := isBare(got, len(d.Data))
		switch {
		case d.Fault != nil || got.Flags.Contains(packet.FlagRST):
			return refuse
		case bare:
			p.learn(d)
		case got.Flags.Contains(packet.FlagACK) && isAfter(got.Ack, p.acked):
			p.acked = got.Ack
		}
		switch {
		case done() && bare:
			return take
		case done():
			return found
		case bare:
			return pass
		}
		return leave
	})
	if err != nil {
		return seen.unmet(fmt.Sprintf("no acknowledgement of %d to %v", p.next, p.flow.Src), err, p.wanted(Segment{Ack: new(p.next)}))
	}
	return nil
}

// isRefused reports whether a packet is an ICMP error about what the peer has sent and the other end has not acknowledged: that
// will not arrive.
func (p *TCPPeer) isRefused(a packet.Arrival, d packet.Dissected) bool {
	if a.Out != p.out || !d.IsHard() {
		return false
	}
	t, seq, ok := quotedTCP(d.Quote)
	if !ok || t.Src != p.flow.Src || t.Dst != p.flow.Dst {
		return false
	}
	seq -= p.first()
	return !isAfter(p.acked, seq) && !isAfter(seq, p.next)
}

// isReset reports whether a packet is a reset that ends what the peer has begun.
func (p *TCPPeer) isReset(a packet.Arrival, d packet.Dissected) bool {
	if !p.mine(a, d) || !d.Tcp.Flags.Contains(packet.FlagRST) {
		return false
	}
	return !d.Tcp.Flags.Contains(packet.FlagACK) || d.Tcp.Ack-p.first() == p.next
}

// quotedTCP returns the flow and the sequence number of a quoted segment, of which 8 bytes are enough (RFC 792).
func quotedTCP(quote packet.Packet) (nf.Tuple, uint32, bool) {
	v := header.Parse(quote)
	l4 := v.Body(quote)
	if v.Proto != header.ProtoTCP || len(l4) < 8 {
		return nf.Tuple{}, 0, false
	}
	return quote.Tuple(), binary.BigEndian.Uint32(l4[4:]), true
}

// wanted explains that s was expected.
func (p *TCPPeer) wanted(s Segment) wanted {
	w := packet.Want{
		Out: p.out, Proto: nf.TCP, Src: p.flow.Dst, Dst: p.flow.Src,
		Flags: s.Flags, Window: s.Window, Options: s.Options, Payload: s.Payload, AnyChecksum: true,
	}
	return wanted{
		compare: func(a packet.Arrival) []packet.Row {
			if d := packet.Dissect(a.Packet); p.mine(a, d) {
				return p.compare(s, d)
			}
			return nil
		},
		other: func(a packet.Arrival) []packet.Row {
			if a.Packet.Tuple().Src == p.flow.Src { // what the peer itself has sent
				return nil
			}
			return w.Compare(a)
		},
		rows: func() []packet.Row {
			w.Seq, w.Ack = s.Seq, s.Ack
			return w.Rows()
		},
		line:    p.line,
		numbers: fmt.Sprintf("; numbers of %v relative", p.flow.Src),
	}
}

// ExpectNothing fails if a segment of the peer's flow is unread, when the host is done with all that was sent to it. Segments
// without anything new, as timers send them, do not count; acknowledgements do.
func (p *TCPPeer) ExpectNothing(ctx context.Context) error {
	if err := p.inbox.knowsLink(p.out); err != nil {
		return err
	}
	return p.inbox.expectNone(ctx, fmt.Sprintf("no segment to %v was expected", p.flow.Src), func(a packet.Arrival) verdict {
		d := packet.Dissect(a.Packet)
		if !p.mine(a, d) || p.repeated(p.relative(*d.Tcp), len(d.Data)) {
			return leave
		}
		return refuse
	})
}

// compare compares a segment with s. Unless s names a number, only what is new of it counts: a timer that sends what was
// taken before may send more along with it (net/ipv4/tcp_output.c, tcp_retrans_try_collapse).
func (p *TCPPeer) compare(s Segment, d packet.Dissected) []packet.Row {
	got := p.relative(*d.Tcp)
	if old := p.expected - got.Seq; s.Seq == nil && p.heard && !isAfter(0, got.Seq) && isAfter(p.expected, got.Seq) && old < uint32(len(d.Data)) {
		got.Seq, d.Data = p.expected, d.Data[old:]
	}
	return s.compare(d, got)
}

// relative returns a segment that came with its numbers relative to the first ones.
func (p *TCPPeer) relative(s packet.SegmentIn) packet.SegmentIn {
	switch {
	case p.heard:
		s.Seq -= p.learnt.ISN
	case s.Flags.Contains(packet.FlagSYN):
		s.Seq = 0
	}
	if s.Flags.Contains(packet.FlagACK) {
		s.Ack -= p.first()
	}
	return s
}

// repeated reports whether a segment takes sequence numbers, all of which have been taken before. A SYN of another
// connection does not.
func (p *TCPPeer) repeated(s packet.SegmentIn, payload int) bool {
	n := space(s.Flags, payload)
	if n == 0 || s.Flags.Contains(packet.FlagRST) || !p.heard || isAfter(0, s.Seq) || s.Flags.Contains(packet.FlagSYN) && s.Seq != 0 {
		return false
	}
	return !isAfter(s.Seq+n, p.expected) || slices.ContainsFunc(p.beyond, func(b span) bool {
		return !isAfter(b.from, s.Seq) && !isAfter(s.Seq+n, b.to)
	})
}

// isBare reports whether a segment is an acknowledgement and nothing else.
func isBare(s packet.SegmentIn, payload int) bool {
	return s.Flags.Contains(packet.FlagACK) && !s.Flags.Contains(packet.FlagRST) && space(s.Flags, payload) == 0
}

// take learns from a segment, and counts its sequence numbers as received.
func (p *TCPPeer) take(d packet.Dissected) {
	p.flow.Dst = d.Tuple.Src
	p.learn(d)
	s := p.relative(*d.Tcp)
	n := space(s.Flags, len(d.Data))
	if n == 0 || s.Flags.Contains(packet.FlagRST) {
		return
	}
	p.closed = p.closed || s.Flags.Contains(packet.FlagFIN)
	p.beyond = append(p.beyond, span{s.Seq, s.Seq + n})
	for moved := true; moved; {
		moved = false
		p.beyond = slices.DeleteFunc(p.beyond, func(b span) bool {
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

// learn keeps what a segment says of the connection.
func (p *TCPPeer) learn(d packet.Dissected) {
	s := d.Tcp
	if s.Flags.Contains(packet.FlagSYN) && !p.heard {
		p.heard = true
		p.learnt = learntFrom(s)
	}
	p.learnt.Window, p.window = s.Window, uint32(s.Window)
	if !s.Flags.Contains(packet.FlagSYN) { // RFC 7323, 2.2: the window of a SYN is never scaled
		p.window <<= p.scale()
	}
	if s.Flags.Contains(packet.FlagACK) && isAfter(s.Ack-p.first(), p.acked) {
		p.acked = s.Ack - p.first()
	}
	if val, _, ok := s.Timestamps(); ok && (s.Flags.Contains(packet.FlagSYN) || isAfter(val, p.recent)) {
		p.recent = val
	}
}

// learntFrom reads what a SYN offers.
func learntFrom(s *packet.SegmentIn) TCPLearnt {
	l := TCPLearnt{ISN: s.Seq}
	if b, ok := s.Option(layers.TCPOptionKindMSS, 2); ok {
		l.MSS = uint16(b[0])<<8 | uint16(b[1])
	}
	if b, ok := s.Option(layers.TCPOptionKindWindowScale, 1); ok {
		l.Scale, l.HasScale = b[0], true
	}
	_, l.SACK = s.Option(layers.TCPOptionKindSACKPermitted, 0)
	_, l.Timestamps = s.Option(layers.TCPOptionKindTimestamps, 8)
	return l
}

// line prints a packet, one of the peer's flow with relative numbers: what comes to it, and what it has sent and the host has
// forwarded.
func (p *TCPPeer) line(a packet.Arrival) string {
	d := packet.Dissect(a.Packet)
	switch {
	case p.mine(a, d):
		s := p.relative(*d.Tcp)
		a.Packet = a.Packet.With(packet.Seq(s.Seq), packet.Ack(s.Ack))
	case d.Tcp != nil && d.Tuple.Src == p.flow.Src && d.Tuple.Dst == p.flow.Dst:
		s := *d.Tcp
		if s.Flags.Contains(packet.FlagACK) {
			s.Ack -= p.learnt.ISN
		}
		a.Packet = a.Packet.With(packet.Seq(s.Seq-p.first()), packet.Ack(s.Ack))
	}
	return a.String()
}

// Segment is a TCP segment as scripts write it, to be sent by a TCPPeer or expected by it. Its numbers are relative to
// the first of each side, as in packetdrill: the SYN is 0, the first byte of data 1. A nil number is, in what is sent,
// the right one, and in what is expected any.
type Segment struct {
	// Flags: zero sends ACK, with data PSH and ACK, and expects any. Else these and no others, except that PSH, which
	// means nothing to a receiver, is not compared.
	Flags packet.TCPFlags
	// Seq counts from the sender's first number, Ack from the receiver's.
	Seq, Ack *uint32
	// Window is as the header has it, not scaled.
	Window *uint16
	// Options: nil sends what belongs there by what was negotiated, else exactly these go out. Those that are expected
	// are there with this data, beside others.
	Options []layers.TCPOption
	// Payload: nil expects any, []byte{} none.
	Payload []byte
	// As makes of the segment what is sent instead: fragments of it, a damaged one, two of it, nothing. The peer counts
	// it as sent in any case. It is not for what is expected.
	As func(packet.Packet) []packet.Packet
}

// flags returns those to be sent.
func (s Segment) flags() packet.TCPFlags {
	switch {
	case s.Flags != 0:
		return s.Flags
	case len(s.Payload) > 0:
		return packet.FlagPSH | packet.FlagACK
	}
	return packet.FlagACK
}

// space returns how many sequence numbers the segment takes.
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

// compare returns the rows of what s asks for; the numbers of got are relative.
func (s Segment) compare(d packet.Dissected, got packet.SegmentIn) []packet.Row {
	var t packet.Table
	if s.Flags != 0 {
		t = append(t, packet.Row{
			Field: "flags", Want: fmt.Sprintf("[%v]", s.Flags), Got: fmt.Sprintf("[%v]", got.Flags),
			Differs: (s.Flags^got.Flags)&^packet.FlagPSH != 0,
		})
	}
	packet.AddNumber(&t, "seq", s.Seq, got.Seq, true)
	packet.AddNumber(&t, "ack", s.Ack, got.Ack, got.Flags.Contains(packet.FlagACK))
	packet.AddNumber(&t, "win", s.Window, got.Window, true)
	t.AddOptions("", s.Options, got.Options)
	if s.Payload != nil {
		t.AddBytes("payload", s.Payload, d.Data)
	}
	if d.Fault != nil {
		t.Add("checksum", "right", d.Fault.Error())
	}
	return t
}

// isAfter reports whether sequence number a is later than b.
func isAfter(a, b uint32) bool { return int32(a-b) > 0 }

// span is a range of sequence numbers, without its end.
type span struct{ from, to uint32 }

// pairStep is what one of two peers does.
type pairStep struct {
	who  *TCPPeer
	from *TCPPeer // who has sent what is expected; nil: who sends
	name string   // of the one who does it
	what Segment
}

// Handshake opens a connection between two peers, with a router between them: the six steps of both, in their order. The error
// says which of them failed. What ends the other peer's part, a reset or an ICMP error as for TCPPeer.Expect, ends it at once.
func Handshake(ctx context.Context, client, server *TCPPeer) error {
	if client == nil || server == nil {
		panic("peer: Handshake of a nil TCPPeer")
	}
	for _, p := range []*TCPPeer{client, server} {
		if err := p.isNew(); err != nil {
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

// Teardown closes a connection between two peers, with a router between them: the FIN of the first, that of the second, and
// what acknowledges them. What either has sent or taken of this before is left out, as after a half close.
func Teardown(ctx context.Context, first, second *TCPPeer) error {
	if first == nil || second == nil {
		panic("peer: Teardown of a nil TCPPeer")
	}
	fin, ack := Segment{Flags: packet.FlagFIN | packet.FlagACK}, Segment{Flags: packet.FlagACK}
	var steps []pairStep
	add := func(left bool, s pairStep) {
		if left {
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
	for _, p := range []*TCPPeer{first, second} {
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
