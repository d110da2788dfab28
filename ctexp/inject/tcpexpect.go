package inject

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// Expect takes the next segment of the peer's flow, which must be as s says, and waits for it until ctx ends.
//
// It passes over what says nothing new: segments whose data, SYN and FIN were all taken before, as a timer of the host
// sends them, unless s names their Seq; and acknowledgements without anything else, which later ones include. Any other
// segment that is not as s says ends it at once, and so does an ICMP error about what the peer has sent and the other end has
// not acknowledged, unless the segment is there already: unreachable, time exceeded, parameter problem. Both stay unread. Other
// flows are not looked at.
func (p *TCPPeer) Expect(ctx context.Context, s Segment) (Packet, error) {
	return p.expect(ctx, s, nil)
}

// expect is Expect where it is known who is to send the segment, if from is not nil: if that peer cannot go on, it ends.
func (p *TCPPeer) expect(ctx context.Context, s Segment, from *TCPPeer) (Packet, error) {
	if err := p.inbox.knowsLink(p.out); err != nil {
		return nil, err
	}
	a, seen, err := p.inbox.await(ctx, func(a Arrival) verdict {
		d := dissect(a.Packet)
		switch {
		case p.isRefused(a, d), from != nil && (from.isRefused(a, d) || from.isReset(a, d)):
			return doubt
		case !p.mine(a, d):
			return leave
		}
		got := p.relative(*d.tcp)
		repeated, bare := p.repeated(got, len(d.data)), isBare(got, len(d.data))
		switch fits := differing(p.compare(s, d)) == 0; {
		case fits && (!repeated || s.Seq != nil):
			p.take(d)
			return take
		case d.fault == nil && (repeated || bare):
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
	_, seen, err := p.inbox.await(ctx, func(a Arrival) verdict {
		d := dissect(a.Packet)
		switch {
		case p.isRefused(a, d):
			return doubt
		case !p.mine(a, d):
			return leave
		}
		got := p.relative(*d.tcp)
		bare := isBare(got, len(d.data))
		switch {
		case d.fault != nil || got.flags.Contains(FlagRST):
			return refuse
		case bare:
			p.learn(d)
		case got.flags.Contains(FlagACK) && isAfter(got.ack, p.acked):
			p.acked = got.ack
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
func (p *TCPPeer) isRefused(a Arrival, d dissected) bool {
	if a.Out != p.out || !d.isHard() {
		return false
	}
	t, seq, ok := quotedTCP(d.quote)
	if !ok || t.Src != p.flow.Src || t.Dst != p.flow.Dst {
		return false
	}
	seq -= p.first()
	return !isAfter(p.acked, seq) && !isAfter(seq, p.next)
}

// isReset reports whether a packet is a reset that ends what the peer has begun.
func (p *TCPPeer) isReset(a Arrival, d dissected) bool {
	if !p.mine(a, d) || !d.tcp.flags.Contains(FlagRST) {
		return false
	}
	return !d.tcp.flags.Contains(FlagACK) || d.tcp.ack-p.first() == p.next
}

// quotedTCP returns the flow and the sequence number of a quoted segment, of which 8 bytes are enough (RFC 792).
func quotedTCP(quote Packet) (nf.Tuple, uint32, bool) {
	v := header.Parse(quote)
	l4 := v.Body(quote)
	if v.Proto != header.ProtoTCP || len(l4) < 8 {
		return nf.Tuple{}, 0, false
	}
	return quote.Tuple(), binary.BigEndian.Uint32(l4[4:]), true
}

// wanted explains that s was expected.
func (p *TCPPeer) wanted(s Segment) wanted {
	w := Want{
		Out: p.out, Proto: nf.TCP, Src: p.flow.Dst, Dst: p.flow.Src,
		Flags: s.Flags, Window: s.Window, Options: s.Options, Payload: s.Payload, AnyChecksum: true,
	}
	return wanted{
		compare: func(a Arrival) []Row {
			if d := dissect(a.Packet); p.mine(a, d) {
				return p.compare(s, d)
			}
			return nil
		},
		other: func(a Arrival) []Row {
			if a.Packet.Tuple().Src == p.flow.Src { // what the peer itself has sent
				return nil
			}
			return w.Compare(a)
		},
		rows: func() []Row {
			w.Seq, w.Ack = s.Seq, s.Ack
			return w.rows()
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
	return p.inbox.expectNone(ctx, fmt.Sprintf("no segment to %v was expected", p.flow.Src), func(a Arrival) verdict {
		d := dissect(a.Packet)
		if !p.mine(a, d) || p.repeated(p.relative(*d.tcp), len(d.data)) {
			return leave
		}
		return refuse
	})
}

// compare compares a segment with s. Unless s names a number, only what is new of it counts: a timer that sends what was
// taken before may send more along with it (net/ipv4/tcp_output.c, tcp_retrans_try_collapse).
func (p *TCPPeer) compare(s Segment, d dissected) []Row {
	got := p.relative(*d.tcp)
	if old := p.expected - got.seq; s.Seq == nil && p.heard && !isAfter(0, got.seq) && isAfter(p.expected, got.seq) && old < uint32(len(d.data)) {
		got.seq, d.data = p.expected, d.data[old:]
	}
	return s.compare(d, got)
}

// relative returns a segment that came with its numbers relative to the first ones.
func (p *TCPPeer) relative(s segmentIn) segmentIn {
	switch {
	case p.heard:
		s.seq -= p.learnt.ISN
	case s.flags.Contains(FlagSYN):
		s.seq = 0
	}
	if s.flags.Contains(FlagACK) {
		s.ack -= p.first()
	}
	return s
}

// repeated reports whether a segment takes sequence numbers, all of which have been taken before. A SYN of another
// connection does not.
func (p *TCPPeer) repeated(s segmentIn, payload int) bool {
	n := space(s.flags, payload)
	if n == 0 || s.flags.Contains(FlagRST) || !p.heard || isAfter(0, s.seq) || s.flags.Contains(FlagSYN) && s.seq != 0 {
		return false
	}
	return !isAfter(s.seq+n, p.expected) || slices.ContainsFunc(p.beyond, func(b span) bool {
		return !isAfter(b.from, s.seq) && !isAfter(s.seq+n, b.to)
	})
}

// isBare reports whether a segment is an acknowledgement and nothing else.
func isBare(s segmentIn, payload int) bool {
	return s.flags.Contains(FlagACK) && !s.flags.Contains(FlagRST) && space(s.flags, payload) == 0
}

// take learns from a segment, and counts its sequence numbers as received.
func (p *TCPPeer) take(d dissected) {
	p.flow.Dst = d.tuple.Src
	p.learn(d)
	s := p.relative(*d.tcp)
	n := space(s.flags, len(d.data))
	if n == 0 || s.flags.Contains(FlagRST) {
		return
	}
	p.closed = p.closed || s.flags.Contains(FlagFIN)
	p.beyond = append(p.beyond, span{s.seq, s.seq + n})
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
func (p *TCPPeer) learn(d dissected) {
	s := d.tcp
	if s.flags.Contains(FlagSYN) && !p.heard {
		p.heard = true
		p.learnt = learntFrom(s)
	}
	p.learnt.Window, p.window = s.window, uint32(s.window)
	if !s.flags.Contains(FlagSYN) { // RFC 7323, 2.2: the window of a SYN is never scaled
		p.window <<= p.scale()
	}
	if s.flags.Contains(FlagACK) && isAfter(s.ack-p.first(), p.acked) {
		p.acked = s.ack - p.first()
	}
	if val, _, ok := s.timestamps(); ok && (s.flags.Contains(FlagSYN) || isAfter(val, p.recent)) {
		p.recent = val
	}
}

// learntFrom reads what a SYN offers.
func learntFrom(s *segmentIn) TCPLearnt {
	l := TCPLearnt{ISN: s.seq}
	if b, ok := s.option(layers.TCPOptionKindMSS, 2); ok {
		l.MSS = uint16(b[0])<<8 | uint16(b[1])
	}
	if b, ok := s.option(layers.TCPOptionKindWindowScale, 1); ok {
		l.Scale, l.HasScale = b[0], true
	}
	_, l.SACK = s.option(layers.TCPOptionKindSACKPermitted, 0)
	_, l.Timestamps = s.option(layers.TCPOptionKindTimestamps, 8)
	return l
}

// line prints a packet, one of the peer's flow with relative numbers: what comes to it, and what it has sent and the host has
// forwarded.
func (p *TCPPeer) line(a Arrival) string {
	d := dissect(a.Packet)
	switch {
	case p.mine(a, d):
		s := p.relative(*d.tcp)
		a.Packet = a.Packet.With(Seq(s.seq), Ack(s.ack))
	case d.tcp != nil && d.tuple.Src == p.flow.Src && d.tuple.Dst == p.flow.Dst:
		s := *d.tcp
		if s.flags.Contains(FlagACK) {
			s.ack -= p.learnt.ISN
		}
		a.Packet = a.Packet.With(Seq(s.seq-p.first()), Ack(s.ack))
	}
	return a.String()
}
