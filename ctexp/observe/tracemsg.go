package observe

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// traced is one NFT_MSG_TRACE message: what became of a packet at one rule, or at the end of a chain
// (net/netfilter/nf_tables_trace.c, nft_trace_notify).
type traced struct {
	family       uint8 // of the table, as nftables numbers them
	table, chain string
	handle       uint64 // of the rule; 0 at the end of a chain
	typ          traceType
	verdict      int32  // as the kernel numbers them; see verdictName
	to           string // where a jump or goto leads
	policy       int32  // of the base chain, where typ is tracePolicy
	id           uint32 // of the packet, roughly: another may have the same
	// network and transport are the beginnings of these headers, with the first message of each base chain. They share
	// memory with the message.
	network, transport []byte
	in, out            int32 // indices of the links
	state              nf.CTState
	status             nf.Status
}

// traceType is enum nft_trace_types.
type traceType uint32

const (
	tracePolicy traceType = 1
	traceReturn traceType = 2
	traceRule   traceType = 3
)

// The numbers of include/uapi/linux/netfilter/nf_tables.h.
const (
	msgNFTTrace = 10<<8 | 17 // NFNL_SUBSYS_NFTABLES, NFT_MSG_TRACE

	nftaTraceTable     = 1
	nftaTraceChain     = 2
	nftaTraceHandle    = 3
	nftaTraceType      = 4
	nftaTraceVerdict   = 5
	nftaTraceID        = 6
	nftaTraceNetwork   = 8
	nftaTraceTransport = 9
	nftaTraceIn        = 10
	nftaTraceOut       = 12
	nftaTracePolicy    = 16
	nftaTraceCTStatus  = 20 // since 6.16
	nftaTraceCTState   = 21

	nftaVerdictCode  = 1
	nftaVerdictChain = 2
)

// decodeTraced decodes the body of an NFT_MSG_TRACE message, which begins with struct nfgenmsg and lies at an offset in
// the datagram that errors name.
func decodeTraced(body []byte, at int) (t traced, err error) {
	if len(body) < nfgenmsg {
		return t, fmt.Errorf("trace message at offset %d: %d bytes are shorter than its header", at, len(body))
	}
	t.family = body[0]
	err = attributes(body[nfgenmsg:], at+nfgenmsg, func(typ uint16, at int, v []byte) error {
		switch {
		case typ == nftaTraceTable:
			t.table = cString(v)
		case typ == nftaTraceChain:
			t.chain = cString(v)
		case typ == nftaTraceHandle && len(v) == 8:
			t.handle = binary.BigEndian.Uint64(v)
		case typ == nftaTraceVerdict:
			return t.decodeVerdict(v, at)
		case typ == nftaTraceNetwork:
			t.network = v
		case typ == nftaTraceTransport:
			t.transport = v
		case len(v) != 4:
		case typ == nftaTraceType:
			t.typ = traceType(binary.BigEndian.Uint32(v))
		case typ == nftaTraceID:
			t.id = binary.BigEndian.Uint32(v)
		case typ == nftaTraceIn:
			t.in = int32(binary.BigEndian.Uint32(v))
		case typ == nftaTraceOut:
			t.out = int32(binary.BigEndian.Uint32(v))
		case typ == nftaTracePolicy:
			t.policy = int32(binary.BigEndian.Uint32(v))
		case typ == nftaTraceCTStatus:
			t.status = nf.Status(binary.BigEndian.Uint32(v))
		case typ == nftaTraceCTState:
			t.state = nf.CTState(binary.BigEndian.Uint32(v))
		}
		return nil
	})
	return t, err
}

func (t *traced) decodeVerdict(b []byte, at int) error {
	return attributes(b, at, func(typ uint16, _ int, v []byte) error {
		switch {
		case typ == nftaVerdictCode && len(v) == 4:
			t.verdict = int32(binary.BigEndian.Uint32(v))
		case typ == nftaVerdictChain:
			t.to = cString(v)
		}
		return nil
	})
}

func cString(v []byte) string { return strings.TrimRight(string(v), "\x00") }

// verdictContinue is NFT_CONTINUE.
const verdictContinue = -1

// verdictName returns the name of a verdict as nft writes it (include/uapi/linux/netfilter.h and nf_tables.h).
func verdictName(code int32, to string) string {
	switch code {
	case verdictContinue:
		return "continue"
	case -2:
		return "break"
	case -3:
		return "jump " + to
	case -4:
		return "goto " + to
	case -5:
		return "return"
	}
	switch code & 0xff { // NF_VERDICT_MASK; above it is the number of a queue, or an errno
	case 0:
		return "drop"
	case 1:
		return "accept"
	case 2:
		return "stolen"
	case 3:
		return "queue"
	case 4:
		return "repeat"
	}
	return fmt.Sprintf("verdict(%d)", code)
}
