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

	infoLastOfDCCP = 4 // behind role and sequence number of the handshake, padding
	infoLastOfSCTP = 3 // verification tags
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

func (d *entryDecoder) protoInfo(v value) error {
	return d.nested(v, "protocol's state", func(v value) error {
		switch v.typ {
		case infoTCP:
			return d.tcpInfo(v)
		case infoDCCP:
			return d.otherState(v, dccpStates[:], infoLastOfDCCP)
		case infoSCTP:
			return d.otherState(v, sctpStates[:], infoLastOfSCTP)
		}
		return errPassed
	})
}

func (d *entryDecoder) tcpInfo(v value) error {
	return d.nested(v, "state of TCP", func(v value) error {
		switch v.typ {
		case infoState:
			return v.u8((*uint8)(&d.e.State))
		case infoTCPScaleOrig:
			return v.u8(&d.e.TCP.Orig.Scale)
		case infoTCPScaleReply:
			return v.u8(&d.e.TCP.Reply.Scale)
		case infoTCPFlagsOrig:
			return v.tcpFlags(&d.e.TCP.Orig.Flags)
		case infoTCPFlagsReply:
			return v.tcpFlags(&d.e.TCP.Reply.Flags)
		}
		return errPassed
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

// otherState decodes the state alone; what else there is up to last is of no use to anybody.
func (d *entryDecoder) otherState(v value, names []string, last uint16) error {
	return d.nested(v, "state of another protocol", func(v value) error {
		if v.typ > last {
			return errPassed
		}
		if v.typ != infoState {
			return nil
		}
		var n uint8
		err := v.u8(&n)
		if d.e.OtherState = fmt.Sprintf("STATE_%d", n); int(n) < len(names) {
			d.e.OtherState = names[n]
		}
		return err
	})
}
