package ctnl

import (
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// The attributes of what a protocol's tracker knows (include/uapi/linux/netfilter/nfnetlink_conntrack.h, enum
// ctattr_protoinfo and below).
const (
	infoTCP  = 1
	infoDCCP = 2
	infoSCTP = 3

	infoState = 1 // of each of the three

	infoTCPScaleOrig  = 2
	infoTCPScaleReply = 3
	infoTCPFlagsOrig  = 4
	infoTCPFlagsReply = 5
)

// The names of the states (net/netfilter/nf_conntrack_proto_sctp.c, sctp_conntrack_names, and until 6.15
// nf_conntrack_proto_dccp.c, dccp_state_names).
var (
	sctpStates = [...]string{
		"NONE", "CLOSED", "COOKIE_WAIT", "COOKIE_ECHOED", "ESTABLISHED", "SHUTDOWN_SENT", "SHUTDOWN_RECD",
		"SHUTDOWN_ACK_SENT", "HEARTBEAT_SENT", "HEARTBEAT_ACKED",
	}
	dccpStates = [...]string{
		"NONE", "REQUEST", "RESPOND", "PARTOPEN", "OPEN", "CLOSEREQ", "CLOSING", "TIMEWAIT", "IGNORE", "INVALID",
	}
)

func (v value) protoInfo(e *nf.Entry) error {
	return Attributes(v.b, v.at, func(typ uint16, at int, b []byte) error {
		v := value{typ, at, b}
		switch typ {
		case infoTCP:
			return v.tcpInfo(e)
		case infoDCCP:
			return v.otherState(&e.OtherState, dccpStates[:])
		case infoSCTP:
			return v.otherState(&e.OtherState, sctpStates[:])
		}
		return nil
	})
}

func (v value) tcpInfo(e *nf.Entry) error {
	return Attributes(v.b, v.at, func(typ uint16, at int, b []byte) error {
		v := value{typ, at, b}
		switch typ {
		case infoState:
			return v.u8((*uint8)(&e.State))
		case infoTCPScaleOrig:
			return v.u8(&e.TCP.Orig.Scale)
		case infoTCPScaleReply:
			return v.u8(&e.TCP.Reply.Scale)
		case infoTCPFlagsOrig:
			return v.tcpFlags(&e.TCP.Orig.Flags)
		case infoTCPFlagsReply:
			return v.tcpFlags(&e.TCP.Reply.Flags)
		}
		return nil
	})
}

// tcpFlags reads struct nf_ct_tcp_flags: the flags, and a mask that is for who writes them.
func (v value) tcpFlags(to *nf.TCPTrackFlags) error {
	if len(v.b) != 2 {
		return v.wrong(2)
	}
	*to = nf.TCPTrackFlags(v.b[0])
	return nil
}

func (v value) otherState(to *string, names []string) error {
	return Attributes(v.b, v.at, func(typ uint16, at int, b []byte) error {
		if typ != infoState {
			return nil
		}
		var n uint8
		err := value{typ, at, b}.u8(&n)
		if *to = fmt.Sprintf("STATE_%d", n); int(n) < len(names) {
			*to = names[n]
		}
		return err
	})
}
