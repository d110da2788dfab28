package nfnl

import (
	"encoding/binary"
	"time"
)

// Logged is a packet logged by NFLOG (net/netfilter/nfnetlink_log.c, __build_packet_message).
type Logged struct {
	Prefix  string    // the log prefix of the rule, or conntrack's message
	Payload []byte    // the packet from the network layer on; shares memory with the message
	Time    time.Time // when the packet was received; zero if unknown
	In, Out int32     // indices of the input and output links; zero: none
	Group   uint16    // NFLOG group
	Seq     uint32    // sequence number of the packet in its group, if HasSeq
	HasSeq  bool      // the message has a sequence number
}

// The attributes of a logged packet and of the configuration of a group (include/uapi/linux/netfilter/nfnetlink_log.h,
// enum nfulnl_attr_type and nfulnl_attr_config).
const (
	logTimestamp = 3
	logInDev     = 4 // NFULA_IFINDEX_INDEV
	logOutDev    = 5
	logPayload   = 9
	logPrefix    = 10
	logSeq       = 12

	logConfigCommand = 1 // NFULA_CFG_CMD
	logConfigMode    = 2
	logConfigFlags   = 6

	logBind       = 1 // NFULNL_CFG_CMD_BIND
	logUnbind     = 2
	logCopyPacket = 2 // NFULNL_COPY_PACKET
	logFlagSeq    = 1 // NFULNL_CFG_F_SEQ
)

// EachLogged calls f for each logged packet of a datagram.
func EachLogged(datagram []byte, f func(l Logged) error) error {
	return Messages(datagram, func(h MessageHeader, body []byte, at int) error {
		if h.Type != msgLogPacket {
			return nil
		}
		l, err := DecodeLogged(body, at)
		if err != nil {
			return err
		}
		return f(l)
	})
}

// DecodeLogged decodes the body of an NFULNL_MSG_PACKET message. The argument at is the body's offset in the datagram;
// errors contain offsets. Attributes that a Logged does not have are skipped.
func DecodeLogged(body []byte, at int) (l Logged, err error) {
	attrs, at, err := Body(body, at)
	if err != nil {
		return l, err
	}
	l.Group = binary.BigEndian.Uint16(body[2:]) // nfgenmsg.res_id
	err = Attributes(attrs, at, func(typ uint16, at int, b []byte) error {
		v := value{typ, at, b}
		switch typ {
		case logTimestamp:
			return v.logTime(&l.Time)
		case logInDev:
			return v.s32(&l.In)
		case logOutDev:
			return v.s32(&l.Out)
		case logPayload:
			l.Payload = b
		case logPrefix:
			l.Prefix = CString(b)
		case logSeq:
			l.HasSeq = true
			return v.u32(&l.Seq)
		}
		return nil
	})
	return l, err
}

// logTime reads a struct nfulnl_msg_packet_timestamp, which has microseconds. It returns the last nanosecond of the
// microsecond, so that the message sorts behind the packet's frame, whose time is exact. An invalid time is skipped.
func (v value) logTime(to *time.Time) error {
	if err := v.check(16); err != nil {
		return err
	}
	const microseconds, farFuture = 1_000_000, 1 << 33
	sec, usec := binary.BigEndian.Uint64(v.b), binary.BigEndian.Uint64(v.b[8:])
	if sec < farFuture && usec < microseconds {
		*to = time.Unix(int64(sec), int64(usec)*1000+999)
	}
	return nil
}

// appendLogBind appends a request to bind the socket to a group, with whole packets and sequence numbers.
func appendLogBind(b []byte, group uint16) []byte {
	b, start := beginLogConfig(b, group)
	b = appendU8(b, logConfigCommand, logBind)
	b = appendBytes(b, logConfigMode, []byte{0, 0, 0xff, 0xff, logCopyPacket, 0}) // struct nfulnl_msg_config_mode, of 64 KiB
	return end(appendU16(b, logConfigFlags, logFlagSeq), start)
}

// AppendLogUnbind appends the request to be the reader of a group no longer.
func AppendLogUnbind(b []byte, group uint16) []byte {
	b, start := beginLogConfig(b, group)
	return end(appendU8(b, logConfigCommand, logUnbind), start)
}

func beginLogConfig(b []byte, group uint16) (_ []byte, start int) {
	b, start = begin(b, msgLogConfig, 0, 0 /* AF_UNSPEC */)
	binary.BigEndian.PutUint16(b[len(b)-2:], group) // nfgenmsg.res_id
	return b, start
}
