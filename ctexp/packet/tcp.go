package packet

import (
	"encoding/binary"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// TCP has the fields of a TCP segment except its ports.
type TCP struct {
	// Flags are the control bits.
	Flags TCPFlags
	// Seq and Ack are the sequence and acknowledgement numbers. Ack is written even without FlagACK.
	Seq, Ack uint32
	// Window is the window as in the header, not scaled. In Flow.TCP zero means 65535; use With(Window(0)) for a closed window.
	Window uint16
	// Urgent is the urgent pointer. It is written even without FlagURG.
	Urgent uint16
	// Options have at most 40 bytes, including the padding and lengths that are filled in.
	Options []TCPOption
	// Payload follows the header.
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

// TCP returns the TCP header and payload of p; false if there is no complete header of 20 bytes. Options end before the first
// malformed one. If the header claims more bytes than there are, Payload is nil. Options and Payload share the memory of p.
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

// The functions below return the segments of a connection without data in which both initial sequence numbers are 1: conntrack
// accepts SYN(f), SYNACK(f.Reverse()) and ACK(f) as a handshake.

// SYN returns the segment that opens a connection, with sequence number 1.
func SYN(f Flow) Packet { return f.TCP(TCP{Flags: FlagSYN, Seq: 1}) }

// SYNACK returns the answer to SYN(f.Reverse()), with sequence number 1.
func SYNACK(f Flow) Packet { return f.TCP(TCP{Flags: FlagSYN | FlagACK, Seq: 1, Ack: 2}) }

// ACK returns the segment that completes the handshake: sequence and acknowledgement number are 2. Sent alone it is a stray
// ACK.
func ACK(f Flow) Packet { return f.TCP(TCP{Flags: FlagACK, Seq: 2, Ack: 2}) }

// FIN returns the segment that closes f's direction directly after the handshake.
func FIN(f Flow) Packet { return f.TCP(TCP{Flags: FlagFIN | FlagACK, Seq: 2, Ack: 2}) }

// RST returns the segment that resets the connection directly after the handshake, exactly in sequence.
func RST(f Flow) Packet { return f.TCP(TCP{Flags: FlagRST, Seq: 2}) }

// TCPFlags is a set of the control bits of a TCP header.
type TCPFlags = nf.TCPFlags

// The control bits. SYN and so on are the functions that return packets.
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

// TCPOption is a TCP option, for TCP.Options and the change Options. Lengths and padding are filled in.
type TCPOption struct {
	// Kind is the option kind (include/net/tcp.h, TCPOPT_MSS and others). 0 and 1 have neither a length nor data.
	Kind uint8
	// Data follows the length byte.
	Data []byte
}

// Option kinds (include/net/tcp.h).
const (
	OptionEnd           uint8 = header.OptionEnd
	OptionNOP           uint8 = header.OptionNOP
	OptionMSS           uint8 = header.OptionMSS
	OptionWindowScale   uint8 = header.OptionWindowScale
	OptionSACKPermitted uint8 = header.OptionSACKPermitted
	OptionSACK          uint8 = header.OptionSACK
	OptionTimestamps    uint8 = header.OptionTimestamps
)

// MSS is the TCP option for the maximum segment size, sent in a SYN.
func MSS(n uint16) TCPOption {
	return TCPOption{OptionMSS, binary.BigEndian.AppendUint16(nil, n)}
}

// WindowScale is the TCP option for the number of bits by which later windows are shifted, sent in a SYN.
func WindowScale(shift uint8) TCPOption { return TCPOption{OptionWindowScale, []byte{shift}} }

// SACKPermitted is the TCP option that offers SACK, sent in a SYN.
func SACKPermitted() TCPOption { return TCPOption{Kind: OptionSACKPermitted} }

// SACK is the TCP option that acknowledges blocks of sequence numbers, each [first, last).
func SACK(blocks ...[2]uint32) TCPOption {
	var b []byte
	for _, block := range blocks {
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, block[0]), block[1])
	}
	return TCPOption{OptionSACK, b}
}

// Timestamps is the TCP option with the sender's timestamp and the echo of the last one from the other side.
func Timestamps(val, ecr uint32) TCPOption {
	b := binary.BigEndian.AppendUint32(nil, val)
	return TCPOption{OptionTimestamps, binary.BigEndian.AppendUint32(b, ecr)}
}

// NOP is the TCP option of one byte that aligns the next option.
func NOP() TCPOption { return TCPOption{Kind: OptionNOP} }
