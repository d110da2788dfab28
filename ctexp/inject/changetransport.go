package inject

import (
	"encoding/binary"

	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// SrcPort sets the source port of TCP, UDP, UDP-Lite, SCTP or DCCP.
func SrcPort(n uint16) Change { return Change{"SrcPort", func(d *draft) { d.setPort(0, n) }} }

// DstPort sets the destination port of TCP, UDP, UDP-Lite, SCTP or DCCP.
func DstPort(n uint16) Change { return Change{"DstPort", func(d *draft) { d.setPort(2, n) }} }

func (d *draft) setPort(at int, n uint16) {
	if d.fault == header.NoFault && !d.proto.HasPorts() {
		d.fail("%s has no ports", protoText(d.proto))
	}
	binary.BigEndian.PutUint16(d.transport(at, 2), n)
}

// Seq sets the sequence number of TCP, of an ICMP echo (16 bits), or of GRE where it has one.
func Seq(n uint32) Change {
	return Change{"Seq", func(d *draft) {
		switch {
		case d.fault != header.NoFault || d.proto == nf.TCP:
			binary.BigEndian.PutUint32(d.transport(4, 4), n)
		case d.proto.IsICMP():
			if n > maxLength {
				d.fail("%d has more than the 16 bits of an echo", n)
			}
			binary.BigEndian.PutUint16(d.transport(6, 2), uint16(n))
		case d.proto == nf.GRE && greField(d.l4, greSeq) > 0:
			binary.BigEndian.PutUint32(d.transport(greField(d.l4, greSeq), 4), n)
		default:
			d.fail("this packet of %s has no sequence number", protoText(d.proto))
		}
	}}
}

// Ack sets the acknowledgement number of TCP, whatever the flags.
func Ack(n uint32) Change {
	return Change{"Ack", func(d *draft) { binary.BigEndian.PutUint32(d.ofTCP(8, 4), n) }}
}

// Flags sets the eight control bits of TCP.
func Flags(f TCPFlags) Change { return Change{"Flags", func(d *draft) { d.ofTCP(13, 1)[0] = byte(f) }} }

// Window sets the window of TCP as the header has it, not scaled. Zero is a closed one.
func Window(n uint16) Change {
	return Change{"Window", func(d *draft) { binary.BigEndian.PutUint16(d.ofTCP(14, 2), n) }}
}

// Urgent sets the urgent pointer of TCP, whatever the flags.
func Urgent(n uint16) Change {
	return Change{"Urgent", func(d *draft) { binary.BigEndian.PutUint16(d.ofTCP(18, 2), n) }}
}

// Options replaces the options of TCP, at most 40 bytes; padding and their lengths are filled in.
func Options(opts ...layers.TCPOption) Change {
	return Change{"Options", func(d *draft) {
		d.ofTCP(0, 20)
		var b []byte
		for _, o := range opts {
			b = appendOption(b, byte(o.OptionType), o.OptionData)
		}
		b = d.padOptions(b)
		payload := d.l4[min(d.headerLength(), len(d.l4)):]
		d.l4 = append(append(d.l4[:20:20], b...), payload...)
		d.l4[12] = byte(5+len(b)/4)<<4 | d.l4[12]&15
	}}
}

// ICMPType sets type and code of ICMP or ICMPv6.
func ICMPType(typ, code uint8) Change {
	return Change{"ICMPType", func(d *draft) {
		b := d.ofICMP(0, 2)
		b[0], b[1] = typ, code
	}}
}

// EchoID sets the identifier of an ICMP or ICMPv6 echo.
func EchoID(n uint16) Change {
	return Change{"EchoID", func(d *draft) { binary.BigEndian.PutUint16(d.ofICMP(4, 2), n) }}
}

// Payload replaces what is behind the transport header: in SCTP the chunks, in a fragment that is not the first and
// where the protocol is not known to this package, all behind the network header.
func Payload(b []byte) Change {
	return Change{"Payload", func(d *draft) {
		n := 0
		if d.fault == header.NoFault {
			if n = d.headerLength(); n > len(d.l4) {
				d.fail("the %s header is cut", protoText(d.proto))
			}
		}
		d.l4 = append(d.l4[:n:n], b...)
	}}
}

// transport returns n bytes of the transport header.
func (d *draft) transport(at, n int) []byte {
	switch {
	case d.fault != header.NoFault:
		d.fail("there is no transport header: %v", d.fault)
	case len(d.l4) < at+n:
		d.fail("the %s header is cut after %d bytes", protoText(d.proto), len(d.l4))
	}
	return d.l4[at : at+n]
}

func (d *draft) ofTCP(at, n int) []byte {
	if d.fault == header.NoFault && d.proto != nf.TCP {
		d.fail("a packet of %s is no TCP segment", protoText(d.proto))
	}
	return d.transport(at, n)
}

func (d *draft) ofICMP(at, n int) []byte {
	if d.fault == header.NoFault && !d.proto.IsICMP() {
		d.fail("a packet of %s is no ICMP message", protoText(d.proto))
	}
	return d.transport(at, n)
}
