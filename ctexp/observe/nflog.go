package observe

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// logged is one packet of which netfilter had something to say (net/netfilter/nfnetlink_log.c, __build_packet_message).
type logged struct {
	prefix  string
	payload []byte // from the network layer; shares memory with the message
	time    time.Time
	in, out int32 // indices of the links, zero if there is none
	group   uint16
	seq     uint32
	hasSeq  bool
}

// The numbers of include/uapi/linux/netfilter/nfnetlink_log.h.
const (
	msgLogPacket = 4 << 8      // NFNL_SUBSYS_ULOG, NFULNL_MSG_PACKET
	msgLogConfig = 4<<8 | 1    // NFULNL_MSG_CONFIG
	nlmsgError   = 2           // include/uapi/linux/netlink.h
	microsecond  = 1_000_000   // in a second
	farFuture    = 1<<33 + 123 // seconds that no clock shows

	nfulaTimestamp = 3
	nfulaIndev     = 4
	nfulaOutdev    = 5
	nfulaPayload   = 9
	nfulaPrefix    = 10
	nfulaSeq       = 12

	nfulaCfgCmd   = 1
	nfulaCfgMode  = 2
	nfulaCfgFlags = 6
	nflogBind     = 1 // NFULNL_CFG_CMD_BIND
	nflogUnbind   = 2
)

// decodeLogged decodes the body of an NFULNL_MSG_PACKET message, which begins with struct nfgenmsg and lies at an offset
// in the datagram that errors name.
func decodeLogged(body []byte, at int) (l logged, err error) {
	if len(body) < nfgenmsg {
		return l, fmt.Errorf("logged packet at offset %d: %d bytes are shorter than its header", at, len(body))
	}
	l.group = binary.BigEndian.Uint16(body[2:])
	err = attributes(body[nfgenmsg:], at+nfgenmsg, func(typ uint16, _ int, v []byte) error {
		switch {
		case typ == nfulaTimestamp && len(v) == 16:
			l.time = logTime(binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:]))
		case typ == nfulaIndev && len(v) == 4:
			l.in = int32(binary.BigEndian.Uint32(v))
		case typ == nfulaOutdev && len(v) == 4:
			l.out = int32(binary.BigEndian.Uint32(v))
		case typ == nfulaPayload:
			l.payload = v
		case typ == nfulaPrefix:
			l.prefix = strings.TrimRight(string(v), "\x00")
		case typ == nfulaSeq && len(v) == 4:
			l.seq, l.hasSeq = binary.BigEndian.Uint32(v), true
		}
		return nil
	})
	return l, err
}

// logTime returns the last nanosecond of the microsecond that the kernel tells, so that what is sorted by time stands
// behind the frame of the packet, whose time is exact. Nonsense is no time.
func logTime(sec, usec uint64) time.Time {
	if sec > farFuture || usec >= microsecond {
		return time.Time{}
	}
	return time.Unix(int64(sec), int64(usec)*1000+999)
}

// messages calls f for each netlink message of a datagram with its type, the offset of its body, and the body. What is
// not whole is an error that names the offset.
func messages(b []byte, f func(typ uint16, at int, body []byte) error) error {
	for at := 0; at < len(b); {
		rest := b[at:]
		if len(rest) < nlmsgHeader {
			return fmt.Errorf("netlink message at offset %d: %d bytes are shorter than its header", at, len(rest))
		}
		n := binary.NativeEndian.Uint32(rest)
		if n < nlmsgHeader || uint64(n) > uint64(len(rest)) {
			return fmt.Errorf("netlink message at offset %d: length %d, %d bytes are there", at, n, len(rest))
		}
		if err := f(binary.NativeEndian.Uint16(rest[4:]), at+nlmsgHeader, rest[nlmsgHeader:n]); err != nil {
			return err
		}
		at += (int(n) + 3) &^ 3
	}
	return nil
}
