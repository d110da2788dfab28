package inject

import (
	"context"
	"fmt"
	"iter"
	"net/netip"

	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Sender is what a scripted peer sends by. *Injector is one.
type Sender interface {
	Send(ctx context.Context, packets iter.Seq[Packet]) (int, error)
}

// TCPPeer is an end of a TCP connection that a test plays: a client, a server, or one that does neither right. It keeps
// the numbers, the timestamps and what was negotiated from what really came; it never sends by itself.
//
// Its fields are set before the first segment; what is zero is not offered. It is for one goroutine.
type TCPPeer struct {
	ISN        uint32 // its first sequence number; 0 means 1,000,000, of one that knows no destination yet 5,000,000
	Window     uint16 // as the header has it; 0 means 65535, for a closed one see Segment.Window
	MSS        uint16
	Scale      *uint8 // of the windows that it announces
	SACK       bool
	Timestamps bool

	by    Sender
	out   string
	inbox *Inbox
	flow  Flow
	isn   uint32 // if ISN says nothing

	next  uint32   // the number of what it sends next, relative
	acked uint32   // up to here the other end has acknowledged, relative
	last  *Segment // the last that takes sequence numbers
	clock uint32   // of its timestamps

	heard    bool // the other end's SYN, and with it its first number
	learnt   TCPLearnt
	window   uint32 // that the other end has announced, in bytes
	expected uint32 // the number of what comes next, relative
	beyond   []span // what came behind a gap
	closed   bool   // the other end's FIN has come
	finished bool   // its own was sent
	recent   uint32 // the last timestamp that came
	rest     []byte // of what Read was not asked for
}

// TCPLearnt is what a TCPPeer has learnt from the other end.
type TCPLearnt struct {
	ISN        uint32
	MSS        uint16 // 0: not said
	Scale      uint8
	HasScale   bool
	SACK       bool
	Timestamps bool
	Window     uint16 // of its last segment, as the header has it
}

// NewTCP returns a peer that sends by a Sender, and reads from the inbox what leaves by the link of that name. The source
// of flow is its own address. A server may leave the destination zero: it is whoever sends the first segment, as that
// looks where it arrives.
func NewTCP(by Sender, link string, inbox *Inbox, flow Flow) *TCPPeer {
	if by == nil || inbox == nil {
		panic("inject: NewTCP without Sender or Inbox")
	}
	p := &TCPPeer{by: by, out: link, inbox: inbox, flow: checkedFlow("NewTCP", flow), isn: 1_000_000}
	if !p.flow.Dst.Addr().IsValid() { // so that nobody takes the numbers of one side for those of the other
		p.isn = 5_000_000
	}
	return p
}

// checkedFlow panics if a peer cannot live at the flow's source.
func checkedFlow(who string, f Flow) Flow {
	f.Src, f.Dst = unmapped(f.Src), unmapped(f.Dst)
	switch {
	case !f.Src.Addr().IsValid() || f.Src.Port() == 0:
		panic(fmt.Sprintf("inject: %s: %v is no source: want address and port", who, f.Src))
	case f.Dst.Addr().IsValid() && f.Dst.Addr().Is4() != f.Src.Addr().Is4():
		panic(fmt.Sprintf("inject: %s: %v: one is IPv4, one IPv6", who, f))
	}
	return f
}

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// Flow returns the flow of what the peer sends, its destination as learnt.
func (p *TCPPeer) Flow() Flow { return p.flow }

// Learnt returns what is known of the other end.
func (p *TCPPeer) Learnt() TCPLearnt { return p.learnt }

// Next returns the number of what the peer sends next, relative to its first.
func (p *TCPPeer) Next() uint32 { return p.next }

// Expected returns the number of what the peer awaits next, relative to the other end's first.
func (p *TCPPeer) Expected() uint32 { return p.expected }

// Reuse makes the peer forget the connection, so that the next one goes over the same addresses and ports. Its numbers
// begin beyond all that the old one could have used.
func (p *TCPPeer) Reuse() {
	const beyond = 1 << 20
	fresh := TCPPeer{
		ISN: p.first() + p.next + beyond, Window: p.Window, MSS: p.MSS, Scale: p.Scale, SACK: p.SACK, Timestamps: p.Timestamps,
		by: p.by, out: p.out, inbox: p.inbox, flow: p.flow, clock: p.clock + 1,
	}
	*p = fresh
}

// first returns the peer's first sequence number.
func (p *TCPPeer) first() uint32 {
	if p.ISN == 0 {
		return p.isn
	}
	return p.ISN
}

// Packet returns what Send would send, and sends nothing: for a test that wants to damage it, to keep it for later, or to
// inject it by hand. The peer does not count it.
func (p *TCPPeer) Packet(s Segment) Packet {
	flags := s.flags()
	seg := TCP{Flags: flags, Seq: p.first() + p.next, Window: p.Window, Options: s.Options, Payload: s.Payload}
	if s.Seq != nil {
		seg.Seq = p.first() + *s.Seq
	}
	switch {
	case s.Ack != nil:
		seg.Ack = p.learnt.ISN + *s.Ack
	case flags.Contains(FlagACK):
		seg.Ack = p.learnt.ISN + p.expected
	}
	if s.Options == nil {
		seg.Options = p.options(flags)
	}
	if s.Window != nil {
		seg.Window = *s.Window
	}
	packet := p.flow.TCP(seg)
	if s.Window != nil && *s.Window == 0 {
		return packet.With(Window(0))
	}
	return packet
}

// options returns what belongs into a segment: offers into a SYN, of which the answer has only what was offered to it.
func (p *TCPPeer) options(f TCPFlags) []layers.TCPOption {
	var out []layers.TCPOption
	if f.Contains(FlagSYN) {
		answer := f.Contains(FlagACK) && p.heard
		if p.MSS != 0 {
			out = append(out, MSS(p.MSS))
		}
		if p.SACK && (!answer || p.learnt.SACK) {
			out = append(out, SACKPermitted())
		}
		if p.Timestamps && (!answer || p.learnt.Timestamps) {
			out = append(out, p.timestamps(answer))
		}
		if p.Scale != nil && (!answer || p.learnt.HasScale) {
			out = append(out, WindowScale(*p.Scale))
		}
		return out
	}
	if p.Timestamps && p.learnt.Timestamps && !f.Contains(FlagRST) {
		out = append(out, NOP(), NOP(), p.timestamps(f.Contains(FlagACK)))
	}
	return out
}

func (p *TCPPeer) timestamps(echo bool) layers.TCPOption {
	const base = 1_000_000
	if !echo {
		return Timestamps(base+p.clock, 0)
	}
	return Timestamps(base+p.clock, p.recent)
}

// mine reports whether a packet is of the peer's flow.
func (p *TCPPeer) mine(a Arrival, d dissected) bool {
	return a.Out == p.out && d.tcp != nil && isAnswer(p.flow, d.tuple)
}

// isAnswer reports whether a packet comes from where f leads to. What f leaves open is any.
func isAnswer(f Flow, t nf.Tuple) bool {
	return t.Dst == f.Src &&
		(!f.Dst.Addr().IsValid() || f.Dst.Addr() == t.Src.Addr()) &&
		(f.Dst.Port() == 0 || f.Dst.Port() == t.Src.Port())
}
