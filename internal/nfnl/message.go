package nfnl

import (
	"encoding/binary"
	"fmt"
	"syscall"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// The sizes of the two headers of a netfilter netlink message: struct nlmsghdr and struct nfgenmsg.
const (
	HeaderSize = 16
	GenSize    = 4
)

// Message types. The upper byte is the subsystem (include/uapi/linux/netfilter/nfnetlink.h, NFNL_SUBSYS_*).
const (
	msgEntryNew         = 1 << 8 // CTNETLINK, IPCTNL_MSG_CT_NEW: also an update
	msgEntryGet         = 1<<8 | 1
	msgEntryDelete      = 1<<8 | 2
	msgStats            = 1<<8 | 4 // IPCTNL_MSG_CT_GET_STATS_CPU
	msgCount            = 1<<8 | 5 // IPCTNL_MSG_CT_GET_STATS
	msgEntryDying       = 1<<8 | 6 // IPCTNL_MSG_CT_GET_DYING
	msgEntryUnconfirmed = 1<<8 | 7 // IPCTNL_MSG_CT_GET_UNCONFIRMED
	msgExpectNew        = 2 << 8   // CTNETLINK_EXP, IPCTNL_MSG_EXP_NEW
	msgExpectGet        = 2<<8 | 1
	msgExpectDelete     = 2<<8 | 2
	msgExpectStats      = 2<<8 | 3   // IPCTNL_MSG_EXP_GET_STATS_CPU
	msgQueuePacket      = 3 << 8     // QUEUE, NFQNL_MSG_PACKET
	msgQueueVerdict     = 3<<8 | 1   // NFQNL_MSG_VERDICT
	msgQueueVerdicts    = 3<<8 | 3   // NFQNL_MSG_VERDICT_BATCH
	msgQueueConfig      = 3<<8 | 2   // NFQNL_MSG_CONFIG
	msgLogPacket        = 4 << 8     // ULOG, NFULNL_MSG_PACKET
	msgLogConfig        = 4<<8 | 1   // NFULNL_MSG_CONFIG
	msgTrace            = 10<<8 | 17 // NFTABLES, NFT_MSG_TRACE

	msgError = 2 // NLMSG_ERROR: also an acknowledgement
	msgDone  = 3 // NLMSG_DONE: the end of a dump
)

// Message flags (include/uapi/linux/netlink.h, NLM_F_*).
const (
	flagRequest = 0x1
	flagAck     = 0x4
	flagDump    = 0x300
	flagExcl    = 0x200
	flagCreate  = 0x400
)

// Offsets of the fields of struct nlmsghdr.
const (
	typeOffset, flagsOffset, seqOffset, portOffset = 4, 6, 8, 12
)

// MessageHeader is the header of a netlink message without its length (struct nlmsghdr).
type MessageHeader struct {
	Type, Flags   uint16 // nlmsg_type and nlmsg_flags
	Sequence, PID uint32 // nlmsg_seq, and nlmsg_pid: the netlink port of the socket that caused the message
}

// Messages calls f for each netlink message of the datagram b, with its header, its body, which shares memory with b,
// and the body's offset in b. A truncated message is an error that contains the offset.
func Messages(b []byte, f func(h MessageHeader, body []byte, at int) error) error {
	for at := 0; at < len(b); {
		rest := b[at:]
		if len(rest) < HeaderSize {
			return fmt.Errorf("netlink message at offset %d: %d bytes are shorter than its header", at, len(rest))
		}
		n := binary.NativeEndian.Uint32(rest)
		if n < HeaderSize || uint64(n) > uint64(len(rest)) {
			return fmt.Errorf("netlink message at offset %d: length %d, %d bytes are there", at, n, len(rest))
		}
		h := MessageHeader{
			Type:     binary.NativeEndian.Uint16(rest[typeOffset:]),
			Flags:    binary.NativeEndian.Uint16(rest[flagsOffset:]),
			Sequence: binary.NativeEndian.Uint32(rest[seqOffset:]),
			PID:      binary.NativeEndian.Uint32(rest[portOffset:]),
		}
		if err := f(h, rest[HeaderSize:n], at+HeaderSize); err != nil {
			return err
		}
		at += (int(n) + 3) &^ 3
	}
	return nil
}

// Body returns the attributes of a netfilter message and their offset in the message. The body begins at offset at with
// struct nfgenmsg.
func Body(body []byte, at int) (attrs []byte, attrsAt int, err error) {
	if len(body) < GenSize {
		return nil, 0, fmt.Errorf("netfilter message at offset %d: %d bytes are shorter than its header", at, len(body))
	}
	return body[GenSize:], at + GenSize, nil
}

// errorOf returns the error in the body of an NLMSG_ERROR or NLMSG_DONE: nil for an acknowledgement, else a
// syscall.Errno.
func errorOf(body []byte) error {
	if len(body) < 4 {
		return fmt.Errorf("netlink acknowledgement of %d bytes: want 4 or more", len(body))
	}
	if code := int32(binary.NativeEndian.Uint32(body)); code != 0 {
		return syscall.Errno(-code)
	}
	return nil
}

// begin appends the headers of a request to b, and returns the request's offset for end. The sequence number is set
// when the request is sent.
func begin(b []byte, typ, flags uint16, family nf.Family) (_ []byte, start int) {
	start = len(b)
	b = append(b, 0, 0, 0, 0) // the length, set by end
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, flagRequest|flags)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)          // sequence number and port
	return append(b, byte(family), 0, 0, 0), start // struct nfgenmsg
}

// end sets the length of the request that begins at start.
func end(b []byte, start int) []byte {
	binary.NativeEndian.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

// appendHeader appends the header of an attribute with a value of n bytes.
func appendHeader(b []byte, typ uint16, n int) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(AttributeSize+n))
	return binary.NativeEndian.AppendUint16(b, typ)
}

func appendBytes(b []byte, typ uint16, v []byte) []byte {
	b = append(appendHeader(b, typ, len(v)), v...)
	return append(b, make([]byte, -len(v)&3)...)
}

func appendU8(b []byte, typ uint16, v uint8) []byte {
	return append(appendHeader(b, typ, 1), v, 0, 0, 0)
}

func appendU16(b []byte, typ, v uint16) []byte {
	return append(appendHeader(b, typ, 2), byte(v>>8), byte(v), 0, 0)
}

func appendU32(b []byte, typ uint16, v uint32) []byte {
	return binary.BigEndian.AppendUint32(appendHeader(b, typ, 4), v)
}

// nest begins a nested attribute and returns its offset for endNest.
func nest(b []byte, typ uint16) (_ []byte, at int) {
	return appendHeader(b, typ|flagNested, 0), len(b)
}

func endNest(b []byte, at int) { binary.NativeEndian.PutUint16(b[at:], uint16(len(b)-at)) }
