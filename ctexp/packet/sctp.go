package packet

import (
	"encoding/binary"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// SCTP returns a packet of f with chunks, which carries the verification tag of the side that it goes to: 0 with an
// INIT, else what that side's INIT or INIT ACK has said. The checksum is CRC32c. It panics if the chunks do not fit.
func (f Flow) SCTP(tag uint32, chunks ...SCTPChunk) Packet {
	b := binary.BigEndian.AppendUint32(f.ports(), tag)
	b = append(b, 0, 0, 0, 0) // the checksum
	for _, c := range chunks {
		b = c.append(b)
	}
	return f.raw(nf.SCTP, b)
}

// SCTPChunk is one chunk of an SCTP packet. Whatever has no constructor here can be written as it is; its length and the
// padding behind it are filled in.
type SCTPChunk struct {
	// Type is its number (include/linux/sctp.h, enum sctp_cid).
	Type uint8
	// Flags are what they are by the type.
	Flags uint8
	// Value is what stands behind its length.
	Value []byte
}

// Types of chunks (include/linux/sctp.h, enum sctp_cid).
const (
	sctpData             = 0
	sctpInit             = 1
	sctpInitAck          = 2
	sctpSack             = 3
	sctpHeartbeat        = 4
	sctpHeartbeatAck     = 5
	sctpAbort            = 6
	sctpShutdown         = 7
	sctpShutdownAck      = 8
	sctpCookieEcho       = 10
	sctpCookieAck        = 11
	sctpShutdownComplete = 14
)

func (c SCTPChunk) append(b []byte) []byte {
	if len(c.Value) > MaxLength-4 {
		panic("packet: an SCTP chunk is longer than 65535 bytes")
	}
	b = append(b, c.Type, c.Flags)
	b = binary.BigEndian.AppendUint16(b, uint16(4+len(c.Value)))
	b = append(b, c.Value...)
	return append(b, make([]byte, -len(c.Value)&3)...)
}

// What an INIT of this package offers beside its tag and first TSN.
const (
	sctpWindow  = 65535
	sctpStreams = 10
)

// SCTPInit opens an association: packets to its sender shall carry tag, and its first DATA will have the number tsn.
func SCTPInit(tag, tsn uint32) SCTPChunk {
	return SCTPChunk{Type: sctpInit, Value: initValue(tag, tsn)}
}

// SCTPInitAck answers an INIT. The cookie comes back in a COOKIE ECHO.
func SCTPInitAck(tag, tsn uint32, cookie []byte) SCTPChunk {
	v := append(initValue(tag, tsn), 0, 7) // parameter 7: state cookie (RFC 9260, 3.3.3)
	v = binary.BigEndian.AppendUint16(v, uint16(4+len(cookie)))
	return SCTPChunk{Type: sctpInitAck, Value: append(v, cookie...)}
}

func initValue(tag, tsn uint32) []byte {
	v := binary.BigEndian.AppendUint32(nil, tag)
	v = binary.BigEndian.AppendUint32(v, sctpWindow)
	v = append(v, 0, sctpStreams, 0, sctpStreams)
	return binary.BigEndian.AppendUint32(v, tsn)
}

// SCTPCookieEcho gives the cookie of an INIT ACK back.
func SCTPCookieEcho(cookie []byte) SCTPChunk {
	return SCTPChunk{Type: sctpCookieEcho, Value: cookie}
}

// SCTPCookieAck ends the opening of an association.
func SCTPCookieAck() SCTPChunk { return SCTPChunk{Type: sctpCookieAck} }

// SCTPData is a whole message with the number tsn, the message number seq of a stream. It panics without payload,
// which SCTP does not allow.
func SCTPData(tsn uint32, stream, seq uint16, payload []byte) SCTPChunk {
	if len(payload) == 0 {
		panic("packet: an SCTP DATA chunk without data")
	}
	const whole = 3 // beginning and end
	v := binary.BigEndian.AppendUint32(nil, tsn)
	v = binary.BigEndian.AppendUint16(v, stream)
	v = binary.BigEndian.AppendUint16(v, seq)
	v = append(v, 0, 0, 0, 0) // payload protocol: none
	return SCTPChunk{Type: sctpData, Flags: whole, Value: append(v, payload...)}
}

// SCTPSack acknowledges all DATA up to the number tsn.
func SCTPSack(tsn uint32) SCTPChunk {
	v := binary.BigEndian.AppendUint32(nil, tsn)
	v = binary.BigEndian.AppendUint32(v, sctpWindow)
	return SCTPChunk{Type: sctpSack, Value: append(v, 0, 0, 0, 0)}
}

// SCTPHeartbeat asks whether the path is alive; info comes back in the answer.
func SCTPHeartbeat(info []byte) SCTPChunk {
	return SCTPChunk{Type: sctpHeartbeat, Value: infoValue(info)}
}

// SCTPHeartbeatAck answers a HEARTBEAT with its info.
func SCTPHeartbeatAck(info []byte) SCTPChunk {
	return SCTPChunk{Type: sctpHeartbeatAck, Value: infoValue(info)}
}

func infoValue(info []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{0, 1}, uint16(4+len(info))), info...)
}

// SCTPShutdown begins the end of an association, and acknowledges all DATA up to the number tsn.
func SCTPShutdown(tsn uint32) SCTPChunk {
	return SCTPChunk{Type: sctpShutdown, Value: binary.BigEndian.AppendUint32(nil, tsn)}
}

// SCTPShutdownAck answers a SHUTDOWN.
func SCTPShutdownAck() SCTPChunk { return SCTPChunk{Type: sctpShutdownAck} }

// SCTPShutdownComplete ends an association.
func SCTPShutdownComplete() SCTPChunk { return SCTPChunk{Type: sctpShutdownComplete} }

// SCTPAbort ends an association at once.
func SCTPAbort() SCTPChunk { return SCTPChunk{Type: sctpAbort} }
