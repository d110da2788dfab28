package inject

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/gopacket/layers"
)

// Expect takes the next segment of the peer's flow, which must be as s says, and waits for it until ctx ends.
//
// It passes over what says nothing new: segments whose data, SYN and FIN were all taken before, as a timer of the host
// sends them, unless s names their Seq; and acknowledgements without anything else, which later ones include. Any other
// segment that is not as s says ends it at once. Other flows and ICMP errors are not looked at.
func (p *TCPPeer) Expect(ctx context.Context, s Segment) (Packet, error) {
	compare := func(a Arrival) []Row {
		d := dissect(a.Packet)
		if !p.mine(a, d) {
			return nil
		}
		return p.compare(s, d)
	}
	a, seen, err := p.inbox.await(ctx, func(a Arrival) verdict {
		d := dissect(a.Packet)
		if !p.mine(a, d) {
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
		return nil, seen.unmet(fmt.Sprintf("no such segment to %v", p.flow.Src), err, compare, p.line)
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
	want := Segment{Ack: new(p.next)}
	compare := func(a Arrival) []Row {
		if d := dissect(a.Packet); p.mine(a, d) {
			return want.compare(d, p.relative(*d.tcp))
		}
		return nil
	}
	_, seen, err := p.inbox.await(ctx, func(a Arrival) verdict {
		d := dissect(a.Packet)
		if !p.mine(a, d) {
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
		return seen.unmet(fmt.Sprintf("no acknowledgement of %d to %v", p.next, p.flow.Src), err, compare, p.line)
	}
	return nil
}

// ExpectNothing fails if a segment of the peer's flow is unread, when the host is done with all that was sent to it. Segments
// without anything new, as timers send them, do not count; acknowledgements do.
func (p *TCPPeer) ExpectNothing(ctx context.Context) error {
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

// line prints a packet, one of the peer's flow with relative numbers.
func (p *TCPPeer) line(a Arrival) string {
	d := dissect(a.Packet)
	if !p.mine(a, d) {
		return a.String()
	}
	s := p.relative(*d.tcp)
	a.Packet = a.Packet.With(Seq(s.seq), Ack(s.ack))
	return a.String()
}
