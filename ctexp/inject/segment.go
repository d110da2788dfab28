package inject

import (
	"fmt"

	"github.com/google/gopacket/layers"
)

// Segment is a TCP segment as scripts write it, to be sent by a TCPPeer or expected by it. Its numbers are relative to
// the first of each side, as in packetdrill: the SYN is 0, the first byte of data 1. A nil number is, in what is sent,
// the right one, and in what is expected any.
type Segment struct {
	// Flags: zero sends ACK, with data PSH and ACK, and expects any. Else these and no others, except that PSH, which
	// means nothing to a receiver, is not compared.
	Flags TCPFlags
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
	As func(Packet) []Packet
}

// flags returns those to be sent.
func (s Segment) flags() TCPFlags {
	switch {
	case s.Flags != 0:
		return s.Flags
	case len(s.Payload) > 0:
		return FlagPSH | FlagACK
	}
	return FlagACK
}

// space returns how many sequence numbers the segment takes.
func (s Segment) space() uint32 { return space(s.flags(), len(s.Payload)) }

func space(f TCPFlags, payload int) uint32 {
	n := uint32(payload)
	if f.Contains(FlagSYN) {
		n++
	}
	if f.Contains(FlagFIN) {
		n++
	}
	return n
}

// compare returns the rows of what s asks for; the numbers of got are relative.
func (s Segment) compare(d dissected, got segmentIn) []Row {
	var t table
	if s.Flags != 0 {
		t = append(t, Row{
			"flags", fmt.Sprintf("[%v]", s.Flags), fmt.Sprintf("[%v]", got.flags), (s.Flags^got.flags)&^FlagPSH != 0,
		})
	}
	addNumber(&t, "seq", s.Seq, got.seq, true)
	addNumber(&t, "ack", s.Ack, got.ack, got.flags.Contains(FlagACK))
	addNumber(&t, "win", s.Window, got.window, true)
	t.addOptions("", s.Options, got.options)
	if s.Payload != nil {
		t.addBytes("payload", s.Payload, d.data)
	}
	if d.fault != nil {
		t.add("checksum", "right", d.fault.Error())
	}
	return t
}

// isAfter reports whether sequence number a is later than b.
func isAfter(a, b uint32) bool { return int32(a-b) > 0 }

// span is a range of sequence numbers, without its end.
type span struct{ from, to uint32 }
