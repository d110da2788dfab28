package packet

import (
	"encoding/binary"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/pktline"
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

// TCPFlags is a set of the control bits of a TCP header.
type TCPFlags uint8

// The control bits. They are not called SYN and so on because those are the packets.
const (
	FlagFIN TCPFlags = 1 << iota
	FlagSYN
	FlagRST
	FlagPSH
	FlagACK
	FlagURG
	FlagECE
	FlagCWR
)

// Contains reports whether all flags of want are in f.
func (f TCPFlags) Contains(want TCPFlags) bool { return f&want == want }

// String returns the flags as tcpdump writes them: "S", "S.", "F.", and "none" for none.
func (f TCPFlags) String() string { return pktline.Flags(uint8(f)) }

// MSS is the TCP option of the maximum segment size, which belongs into a SYN.
//
// TCP options are for TCP.Options and the change Options. Whatever has no function here can be written as a
// layers.TCPOption; lengths and padding are filled in.
func MSS(n uint16) layers.TCPOption {
	return tcpOption(layers.TCPOptionKindMSS, binary.BigEndian.AppendUint16(nil, n))
}

// WindowScale is the TCP option of the number of bits by which later windows are shifted, which belongs into a SYN.
func WindowScale(shift uint8) layers.TCPOption {
	return tcpOption(layers.TCPOptionKindWindowScale, []byte{shift})
}

// SACKPermitted is the TCP option that offers to understand SACK, which belongs into a SYN.
func SACKPermitted() layers.TCPOption { return tcpOption(layers.TCPOptionKindSACKPermitted, nil) }

// SACK is the TCP option that acknowledges blocks, each from its first sequence number up to, and without, its last.
func SACK(blocks ...[2]uint32) layers.TCPOption {
	var b []byte
	for _, block := range blocks {
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, block[0]), block[1])
	}
	return tcpOption(layers.TCPOptionKindSACK, b)
}

// Timestamps is the TCP option of the sender's clock and the last one that it heard from the other side.
func Timestamps(val, ecr uint32) layers.TCPOption {
	b := binary.BigEndian.AppendUint32(nil, val)
	return tcpOption(layers.TCPOptionKindTimestamps, binary.BigEndian.AppendUint32(b, ecr))
}

// NOP is the TCP option of one byte that means nothing and aligns the next.
func NOP() layers.TCPOption {
	return layers.TCPOption{OptionType: layers.TCPOptionKindNop, OptionLength: 1}
}

func tcpOption(kind layers.TCPOptionKind, data []byte) layers.TCPOption {
	return layers.TCPOption{OptionType: kind, OptionLength: uint8(2 + len(data)), OptionData: data}
}
