package nfnl

import (
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Trace is an NFT_MSG_TRACE message: the verdict on a packet at a rule or at the end of a chain
// (net/netfilter/nf_tables_trace.c, nft_trace_notify).
type Trace struct {
	Family       uint8     // family of the table (NFPROTO_*)
	Table, Chain string    // their names
	Handle       uint64    // handle of the rule; 0 at the end of a chain
	Type         TraceType // what the message is about
	Verdict      int32     // the verdict; see VerdictName
	To           string    // target chain of a jump or goto
	Policy       int32     // policy of the base chain, if Type is TracePolicy
	ID           uint32    // ID of the packet, which is not necessarily unique
	// Network and Transport are the beginnings of these headers, in the first message of each base chain. They share
	// memory with the message.
	Network, Transport []byte
	In, Out            int32      // indices of the input and output links; zero: none
	State              nf.CTState // conntrack state of the packet, since 6.16
	Status             nf.Status  // status of the packet's entry, since 6.16
}

// TraceType is the type of a Trace (enum nft_trace_types).
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

// EachTrace calls f for each trace message of a datagram.
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

// DecodeTrace decodes the body of an NFT_MSG_TRACE message. The argument at is the body's offset in the datagram;
// errors contain offsets. Attributes that a Trace does not have are skipped.
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

// VerdictName returns a verdict as nft writes it, with the target chain of a jump or goto
// (include/uapi/linux/netfilter.h and include/uapi/linux/netfilter/nf_tables.h).
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
	switch code & 0xff { // NF_VERDICT_MASK; the upper bits are a queue number or an errno
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
