package packet

import (
	"encoding/binary"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/pktline"
)

// TCP is what a TCP segment has beside its ports.
type TCP struct {
	// Flags are the control bits.
	Flags TCPFlags
	// Seq and Ack are written as they are, Ack also without FlagACK.
	Seq, Ack uint32
	// Window is the window as the header has it, not scaled. Flow.TCP takes zero for 65535: for a closed window there is
	// With(Window(0)).
	Window uint16
	// Urgent is the urgent pointer, written as it is, also without FlagURG.
	Urgent uint16
	// Options have at most 40 bytes; padding and their lengths are filled in.
	Options []TCPOption
	// Payload is what stands behind the header.
	Payload []byte
}

// TCP returns the segment seg of f. It panics if the options or the payload do not fit.
func (f Flow) TCP(seg TCP) Packet {
	if seg.Window == 0 {
		seg.Window = 65535
	}
	has := seg.Flags.Contains
	var options []layers.TCPOption
	for _, o := range seg.Options {
		options = append(options, layers.TCPOption{
			OptionType: layers.TCPOptionKind(o.Kind), OptionLength: uint8(2 + len(o.Data)), OptionData: o.Data,
		})
	}
	return mustBuild(
		network(f.Src.Addr(), f.Dst.Addr(), nf.TCP),
		&layers.TCP{
			SrcPort: layers.TCPPort(f.Src.Port()), DstPort: layers.TCPPort(f.Dst.Port()),
			Seq: seg.Seq, Ack: seg.Ack, Window: seg.Window, Urgent: seg.Urgent, Options: options,
			FIN: has(FlagFIN), SYN: has(FlagSYN), RST: has(FlagRST), PSH: has(FlagPSH),
			ACK: has(FlagACK), URG: has(FlagURG), ECE: has(FlagECE), CWR: has(FlagCWR),
		},
		gopacket.Payload(seg.Payload),
	)
}

// TCP returns what the TCP header of p has, and what is behind it; false where there is no whole header of 20 bytes. Options
// end where one makes no sense. Where the header claims more bytes than there are, Payload is nil. Bytes are those of p.
func (p Packet) TCP() (TCP, bool) {
	v := header.Parse(p)
	b := v.Body(p)
	if v.Proto != header.ProtoTCP || len(b) < header.TCPSize {
		return TCP{}, false
	}
	seg := TCP{
		Flags: TCPFlags(b[13]), Seq: binary.BigEndian.Uint32(b[4:]), Ack: binary.BigEndian.Uint32(b[8:]),
		Window: binary.BigEndian.Uint16(b[14:]), Urgent: binary.BigEndian.Uint16(b[18:]), Payload: header.Data(v.Proto, b),
	}
	if n := int(b[12]>>4) * 4; n > header.TCPSize && n <= len(b) {
		for rest := b[header.TCPSize:n]; len(rest) > 0 && rest[0] != OptionEnd; {
			var o TCPOption
			if o.Kind, o.Data, rest = header.Option(rest); rest != nil {
				seg.Options = append(seg.Options, o)
			}
		}
	}
	return seg, true
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

// TCPOption is an option of TCP, for TCP.Options and the change Options. Lengths and padding are filled in.
type TCPOption struct {
	// Kind is its number (include/net/tcp.h, TCPOPT_MSS and others). 0 and 1 have neither a length nor data.
	Kind uint8
	// Data is what stands behind its length.
	Data []byte
}

// Kinds of options that this package makes, and the end of their list (include/net/tcp.h).
const (
	OptionEnd           uint8 = header.OptionEnd
	OptionNOP           uint8 = header.OptionNOP
	OptionMSS           uint8 = header.OptionMSS
	OptionWindowScale   uint8 = header.OptionWindowScale
	OptionSACKPermitted uint8 = header.OptionSACKPermitted
	OptionSACK          uint8 = header.OptionSACK
	OptionTimestamps    uint8 = header.OptionTimestamps
)

// MSS is the TCP option of the maximum segment size, which belongs into a SYN.
func MSS(n uint16) TCPOption {
	return TCPOption{OptionMSS, binary.BigEndian.AppendUint16(nil, n)}
}

// WindowScale is the TCP option of the number of bits by which later windows are shifted, which belongs into a SYN.
func WindowScale(shift uint8) TCPOption { return TCPOption{OptionWindowScale, []byte{shift}} }

// SACKPermitted is the TCP option that offers to understand SACK, which belongs into a SYN.
func SACKPermitted() TCPOption { return TCPOption{Kind: OptionSACKPermitted} }

// SACK is the TCP option that acknowledges blocks, each from its first sequence number up to, and without, its last.
func SACK(blocks ...[2]uint32) TCPOption {
	var b []byte
	for _, block := range blocks {
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, block[0]), block[1])
	}
	return TCPOption{OptionSACK, b}
}

// Timestamps is the TCP option of the sender's clock and the last one that it heard from the other side.
func Timestamps(val, ecr uint32) TCPOption {
	b := binary.BigEndian.AppendUint32(nil, val)
	return TCPOption{OptionTimestamps, binary.BigEndian.AppendUint32(b, ecr)}
}

// NOP is the TCP option of one byte that means nothing and aligns the next.
func NOP() TCPOption { return TCPOption{Kind: OptionNOP} }
