package observe

import (
	"encoding/binary"
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// destroyed is what a DESTROY event of ctnetlink says about how its entry came to its end.
type destroyed struct {
	zone   uint16
	status nf.Status
	state  nf.TCPState
	// timed reports whether the event has the time that was left, as it has since 86d21fc74745 ("netfilter: ctnetlink:
	// add timeout and protoinfo to destroy events").
	timed bool
	left  uint32 // seconds
}

// The numbers of include/uapi/linux/netfilter/nfnetlink_conntrack.h that say it.
const (
	msgCTDelete = 1<<8 | 2 // NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE

	ctaStatus       = 3
	ctaProtoInfo    = 4
	ctaTimeout      = 7
	ctaZone         = 18
	ctaProtoInfoTCP = 1
	ctaTCPState     = 1

	nlaTypeMask = 1<<14 - 1 // include/uapi/linux/netlink.h, NLA_TYPE_MASK
)

// The sizes of the headers of a netfilter netlink message.
const (
	nlmsgHeader = 16
	nfgenmsg    = 4
	nlaHeader   = 4
)

// decodeDestroyed decodes one netlink message, header included. ok is false for a message of another type.
func decodeDestroyed(msg []byte) (d destroyed, ok bool, err error) {
	if len(msg) < nlmsgHeader+nfgenmsg {
		return d, false, fmt.Errorf("conntrack event of %d bytes: shorter than its header", len(msg))
	}
	n := binary.NativeEndian.Uint32(msg)
	if n < nlmsgHeader+nfgenmsg || uint64(n) > uint64(len(msg)) {
		return d, false, fmt.Errorf("conntrack event says that it has %d bytes, and has %d", n, len(msg))
	}
	if binary.NativeEndian.Uint16(msg[4:]) != msgCTDelete {
		return d, false, nil
	}
	const at = nlmsgHeader + nfgenmsg
	err = attributes(msg[at:n], at, func(typ uint16, at int, v []byte) error {
		switch {
		case typ == ctaStatus && len(v) == 4:
			d.status = nf.Status(binary.BigEndian.Uint32(v))
		case typ == ctaTimeout && len(v) == 4:
			d.timed, d.left = true, binary.BigEndian.Uint32(v)
		case typ == ctaZone && len(v) == 2:
			d.zone = binary.BigEndian.Uint16(v)
		case typ == ctaProtoInfo:
			return attributes(v, at, func(typ uint16, at int, v []byte) error {
				if typ != ctaProtoInfoTCP {
					return nil
				}
				return attributes(v, at, func(typ uint16, _ int, v []byte) error {
					if typ == ctaTCPState && len(v) == 1 {
						d.state = nf.TCPState(v[0])
					}
					return nil
				})
			})
		}
		return nil
	})
	return d, err == nil, err
}

// attributes calls f for each netlink attribute in b with its type, where its value lies in the message, and its value.
// Where b begins in the message is for errors, which name the offset.
func attributes(b []byte, at int, f func(typ uint16, at int, v []byte) error) error {
	for len(b) > 0 {
		if len(b) < nlaHeader {
			return fmt.Errorf("netlink attribute at offset %d: %d bytes are shorter than its header", at, len(b))
		}
		n := int(binary.NativeEndian.Uint16(b))
		if n < nlaHeader || n > len(b) {
			return fmt.Errorf("netlink attribute at offset %d: length %d, %d bytes are there", at, n, len(b))
		}
		if err := f(binary.NativeEndian.Uint16(b[2:])&nlaTypeMask, at+nlaHeader, b[nlaHeader:n]); err != nil {
			return err
		}
		padded := min((n+3)&^3, len(b))
		b, at = b[padded:], at+padded
	}
	return nil
}

// fate is why an entry that nobody deleted is gone.
type fate int

const (
	unasked    fate = iota // evicted, collected, or its time was over
	byPacket               // a packet ended it
	replacedOr             // a packet replaced it by a new entry of the same tuple; if there is none: unasked
)

// fate tells from the event alone. Three things end an entry that has time left and that nobody deleted: early_drop
// and the garbage collector; a RST on a flow that never had an answer (net/netfilter/nf_conntrack_proto_tcp.c,
// nf_conntrack_tcp_packet, state CLOSE); a SYN that opens a closed connection again (there, TIME_WAIT or CLOSE), or a
// new flow whose NAT takes the place of one (nf_nat_core.c). Without a time (older kernels) there is no state either:
// all count as unasked.
func (d destroyed) fate() fate {
	switch {
	case !d.timed || d.left == 0:
		return unasked
	case d.state == nf.Close && !d.status.Has(nf.SeenReply):
		return byPacket
	case d.state == nf.Close || d.state == nf.TimeWait:
		return replacedOr
	}
	return unasked
}
