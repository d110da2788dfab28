package packet

import (
	"encoding/binary"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// SCTP returns a packet of f with chunks. Its verification tag is that of the receiver: 0 with an INIT, else the tag in the
// receiver's INIT or INIT ACK. The checksum is CRC32c. It panics if the chunks do not fit.
func (f Flow) SCTP(tag uint32, chunks ...SCTPChunk) Packet {
	b := binary.BigEndian.AppendUint32(f.ports(), tag)
	b = append(b, 0, 0, 0, 0) // the checksum
	for _, c := range chunks {
		b = c.append(b)
	}
	return f.raw(nf.SCTP, b)
}

// SCTPChunk is one chunk of an SCTP packet. The functions below make the common ones; others are written as a literal. The
// length field and the padding are filled in.
type SCTPChunk struct {
	// Type is the chunk type (include/linux/sctp.h, enum sctp_cid).
	Type uint8
	// Flags are the chunk flags, whose meaning depends on the type.
	Flags uint8
	// Value follows the length field.
	Value []byte
}

// Chunk types (include/linux/sctp.h, enum sctp_cid).
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
		panic("packet: SCTP chunk longer than 65535 bytes")
	}
	b = append(b, c.Type, c.Flags)
	b = binary.BigEndian.AppendUint16(b, uint16(4+len(c.Value)))
	b = append(b, c.Value...)
	return append(b, make([]byte, -len(c.Value)&3)...)
}

// What an INIT offers in addition to its tag and first TSN.
const (
	sctpWindow  = 65535
	sctpStreams = 10
)

// SCTPInit opens an association: packets to its sender must carry tag, and its first DATA will have the number tsn.
func SCTPInit(tag, tsn uint32) SCTPChunk {
	return SCTPChunk{Type: sctpInit, Value: initValue(tag, tsn)}
}

// SCTPInitAck answers an INIT. The cookie is returned in a COOKIE ECHO.
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

// SCTPCookieEcho returns the cookie of an INIT ACK to its sender.
func SCTPCookieEcho(cookie []byte) SCTPChunk {
	return SCTPChunk{Type: sctpCookieEcho, Value: cookie}
}

// SCTPCookieAck answers a COOKIE ECHO and completes the opening of an association.
func SCTPCookieAck() SCTPChunk { return SCTPChunk{Type: sctpCookieAck} }

// SCTPData is an unfragmented message with the transmission number tsn and the number seq in its stream. It panics if the
// payload is empty, which SCTP does not allow.
func SCTPData(tsn uint32, stream, seq uint16, payload []byte) SCTPChunk {
	if len(payload) == 0 {
		panic("packet: SCTP DATA chunk without data")
	}
	const whole = 3 // beginning and ending fragment (RFC 9260, 3.3.1)
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

// SCTPHeartbeat asks whether the path is alive; info is returned in the answer.
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

// SCTPShutdown begins to close an association, and acknowledges all DATA up to the number tsn.
func SCTPShutdown(tsn uint32) SCTPChunk {
	return SCTPChunk{Type: sctpShutdown, Value: binary.BigEndian.AppendUint32(nil, tsn)}
}

// SCTPShutdownAck answers a SHUTDOWN.
func SCTPShutdownAck() SCTPChunk { return SCTPChunk{Type: sctpShutdownAck} }

// SCTPShutdownComplete answers a SHUTDOWN ACK and closes the association.
func SCTPShutdownComplete() SCTPChunk { return SCTPChunk{Type: sctpShutdownComplete} }

// SCTPAbort closes an association at once.
func SCTPAbort() SCTPChunk { return SCTPChunk{Type: sctpAbort} }
