package inject

import (
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// TCP is what a TCP segment has beside its ports.
type TCP struct {
	Flags    TCPFlags
	Seq, Ack uint32 // written as they are, Ack also without FlagACK
	// Window is the window as the header has it, not scaled. Zero means 65535: for a closed window there is
	// With(Window(0)).
	Window  uint16
	Urgent  uint16             // the urgent pointer, written as it is, also without FlagURG
	Options []layers.TCPOption // at most 40 bytes; padding and their lengths are filled in
	Payload []byte
}

// TCP returns the segment seg of f. It panics if the options or the payload do not fit.
func (f Flow) TCP(seg TCP) Packet {
	if seg.Window == 0 {
		seg.Window = 65535
	}
	has := seg.Flags.Contains
	return mustBuild(
		network(f.Src.Addr(), f.Dst.Addr(), nf.TCP),
		&layers.TCP{
			SrcPort: layers.TCPPort(f.Src.Port()), DstPort: layers.TCPPort(f.Dst.Port()),
			Seq: seg.Seq, Ack: seg.Ack, Window: seg.Window, Urgent: seg.Urgent, Options: seg.Options,
			FIN: has(FlagFIN), SYN: has(FlagSYN), RST: has(FlagRST), PSH: has(FlagPSH),
			ACK: has(FlagACK), URG: has(FlagURG), ECE: has(FlagECE), CWR: has(FlagCWR),
		},
		gopacket.Payload(seg.Payload),
	)
}

// The segments of a connection without data in which both ends begin at sequence number 1: SYN(f),
// SYNACK(f.Reverse()) and ACK(f) are a handshake that conntrack takes for one.

// SYN returns the segment that opens a connection, with sequence number 1.
func SYN(f Flow) Packet { return f.TCP(TCP{Flags: FlagSYN, Seq: 1}) }

// SYNACK returns the answer to SYN(f.Reverse()), with sequence number 1.
func SYNACK(f Flow) Packet { return f.TCP(TCP{Flags: FlagSYN | FlagACK, Seq: 1, Ack: 2}) }

// ACK returns the segment that ends the handshake: sequence and acknowledgement number are 2. Without the other two it
// is a stray ACK.
func ACK(f Flow) Packet { return f.TCP(TCP{Flags: FlagACK, Seq: 2, Ack: 2}) }

// FIN returns the segment that closes f's direction right after the handshake.
func FIN(f Flow) Packet { return f.TCP(TCP{Flags: FlagFIN | FlagACK, Seq: 2, Ack: 2}) }

// RST returns the segment that resets the connection right after the handshake, exactly in sequence.
func RST(f Flow) Packet { return f.TCP(TCP{Flags: FlagRST, Seq: 2}) }
