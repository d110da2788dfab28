package nfnl

import (
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Trace is one NFT_MSG_TRACE message: what became of a packet at one rule, or at the end of a chain
// (net/netfilter/nf_tables_trace.c, nft_trace_notify).
type Trace struct {
	Family       uint8 // of the table, as nftables numbers them
	Table, Chain string
	Handle       uint64 // of the rule; 0 at the end of a chain
	Type         TraceType
	Verdict      int32  // as the kernel numbers them; see VerdictName
	To           string // where a jump or goto leads
	Policy       int32  // of the base chain, where Type is TracePolicy
	ID           uint32 // of the packet, roughly: another may have the same
	// Network and Transport are the beginnings of these headers, with the first message of each base chain. They share
	// memory with the message.
	Network, Transport []byte
	In, Out            int32 // indices of the links
	State              nf.CTState
	Status             nf.Status
}

// TraceType is what a Trace is about (enum nft_trace_types).
type TraceType uint32

// The types of a Trace.
const (
	TracePolicy TraceType = 1 // the policy of a base chain
	TraceReturn TraceType = 2 // the return to the calling chain
	TraceRule   TraceType = 3 // a rule
)

// The attributes of a trace and of a verdict (include/uapi/linux/netfilter/nf_tables.h, enum nft_trace_attributes and
// nft_verdict_attributes).
const (
	traceTable     = 1
	traceChain     = 2
	traceHandle    = 3
	traceKind      = 4
	traceVerdict   = 5
	traceID        = 6
	traceNetwork   = 8
	traceTransport = 9
	traceIn        = 10
	traceOut       = 12
	tracePolicy    = 16
	traceCTStatus  = 20 // since 6.16
	traceCTState   = 21

	verdictCode  = 1
	verdictChain = 2
)

// EachTrace calls f for each message of the trace in a datagram.
func EachTrace(datagram []byte, f func(t Trace) error) error {
	return Messages(datagram, func(h MessageHeader, body []byte, at int) error {
		if h.Type != msgTrace {
			return nil
		}
		t, err := DecodeTrace(body, at)
		if err != nil {
			return err
		}
		return f(t)
	})
}

// DecodeTrace decodes the body of an NFT_MSG_TRACE message, which lies at an offset in the datagram that errors name.
// Attributes that a Trace does not have are passed over.
func DecodeTrace(body []byte, at int) (t Trace, err error) {
	attrs, at, err := Body(body, at)
	if err != nil {
		return t, err
	}
	t.Family = body[0]
	err = Attributes(attrs, at, func(typ uint16, at int, b []byte) error {
		v := value{typ, at, b}
		switch typ {
		case traceTable:
			t.Table = CString(b)
		case traceChain:
			t.Chain = CString(b)
		case traceHandle:
			return v.u64(&t.Handle)
		case traceKind:
			return v.u32((*uint32)(&t.Type))
		case traceVerdict:
			return t.verdict(v)
		case traceID:
			return v.u32(&t.ID)
		case traceNetwork:
			t.Network = b
		case traceTransport:
			t.Transport = b
		case traceIn:
			return v.s32(&t.In)
		case traceOut:
			return v.s32(&t.Out)
		case tracePolicy:
			return v.s32(&t.Policy)
		case traceCTStatus:
			return v.u32((*uint32)(&t.Status))
		case traceCTState:
			return v.u32((*uint32)(&t.State))
		}
		return nil
	})
	return t, err
}

func (t *Trace) verdict(v value) error {
	return Attributes(v.b, v.at, func(typ uint16, at int, b []byte) error {
		switch typ {
		case verdictCode:
			return value{typ, at, b}.s32(&t.Verdict)
		case verdictChain:
			t.To = CString(b)
		}
		return nil
	})
}

// VerdictContinue is NFT_CONTINUE.
const VerdictContinue = -1

// VerdictName returns the name of a verdict as nft writes it, with the chain that a jump or a goto leads to
// (include/uapi/linux/netfilter.h and nf_tables.h).
func VerdictName(code int32, to string) string {
	switch code {
	case VerdictContinue:
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
