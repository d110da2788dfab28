package observe

import (
	"encoding/binary"
	"net/netip"

	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

var (
	client = netip.MustParseAddrPort("198.18.0.2:10003")
	server = netip.MustParseAddrPort("192.0.2.1:80")
	visit  = packet.Flow{Src: client, Dst: server}
)

// frame is a packet on a link.
func frame(link string, d packet.Dir, p packet.Packet) packet.Record {
	return packet.Record{Link: link, Dir: d, EtherType: header.EtherTypeOf(p), Packet: p}
}

// attr returns a netlink attribute.
func attr(typ uint16, value ...byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(nfnl.AttributeSize+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, typ), value...)
	return append(b, make([]byte, (4-len(b)%4)%4)...)
}

// message returns a netlink message of netfilter.
func message(typ uint16, attrs ...[]byte) []byte {
	b := make([]byte, nfnl.HeaderSize+nfnl.GenSize)
	for _, a := range attrs {
		b = append(b, a...)
	}
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], typ)
	return b
}

const nested = 1 << 15

// The types of messages that tests make (include/uapi/linux/netfilter/nfnetlink.h, NFNL_SUBSYS_*).
const (
	msgEntryNew     = 1 << 8
	msgEntryDelete  = 1<<8 | 2
	msgExpectNew    = 2 << 8
	msgExpectDelete = 2<<8 | 2
	msgLogPacket    = 4 << 8
	msgTrace        = 10<<8 | 17

	flagExcl, flagCreate = 0x200, 0x400
)

// Attributes of logged packets (nfnetlink_log.h, enum nfulnl_attr_type) and of the trace (nf_tables.h, enum
// nft_trace_attributes).
const (
	logTimestamp, logInDev, logOutDev, logPayload, logPrefixOf, logSeqOf = 3, 4, 5, 9, 10, 12

	traceTable, traceChain, traceHandle, traceKind, traceID, traceNetwork, traceTransport = 1, 2, 3, 4, 6, 8, 9
)

// logMessage is an NFULNL_MSG_PACKET message.
func logMessage(attrs ...[]byte) []byte { return message(msgLogPacket, attrs...) }

func logPrefix(s string) []byte { return attr(logPrefixOf, append([]byte(s), 0)...) }

func logSeq(n byte) []byte { return attr(logSeqOf, 0, 0, 0, n) }

func be32(n byte) []byte { return []byte{0, 0, 0, n} }

// traceMessage is an NFT_MSG_TRACE message.
func traceMessage(attrs ...[]byte) []byte { return message(msgTrace, attrs...) }

func traceName(typ uint16, s string) []byte { return attr(typ, append([]byte(s), 0)...) }
