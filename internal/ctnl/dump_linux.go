package ctnl

import (
	"errors"
	"fmt"
	"os"

	"github.com/mdlayher/netlink"
	"github.com/ti-mo/netfilter"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Dump is a request for a list (include/uapi/linux/netfilter/nfnetlink_conntrack.h, enum cntl_msg_types and
// ctnl_exp_msg_types).
type Dump struct {
	subsystem netfilter.SubsystemID
	message   netfilter.MessageType
	filter    nf.Filter
}

// The lists that the kernel gives. The first two have a message for each CPU.
var (
	DumpStats       = Dump{subsystem: netfilter.NFSubsysCTNetlink, message: 4}    // IPCTNL_MSG_CT_GET_STATS_CPU
	DumpExpectStats = Dump{subsystem: netfilter.NFSubsysCTNetlinkExp, message: 3} // IPCTNL_MSG_EXP_GET_STATS_CPU
	DumpDying       = Dump{subsystem: netfilter.NFSubsysCTNetlink, message: 6}    // IPCTNL_MSG_CT_GET_DYING
	DumpUnconfirmed = Dump{subsystem: netfilter.NFSubsysCTNetlink, message: 7}    // IPCTNL_MSG_CT_GET_UNCONFIRMED
	DumpExpect      = Dump{subsystem: netfilter.NFSubsysCTNetlinkExp, message: 1} // IPCTNL_MSG_EXP_GET
)

// DumpEntries is the list of the entries of the table that f selects, as far as the kernel can tell: by family, mark,
// zone and status. It is a saving, not a decision: older kernels apply less of it (the status since 5.15, a zone since
// 6.8, eff3c558bb7e "netfilter: ctnetlink: support filtering by zone"), so f.Match has to be asked about every entry all
// the same.
//
// With hideFiller the kernel leaves out entries with a fixed timeout, as all of the filler has, unless f asks for that
// bit or for a zone.
func DumpEntries(f nf.Filter, hideFiller bool) Dump {
	d := Dump{subsystem: netfilter.NFSubsysCTNetlink, message: msgCTGet, filter: f}
	if hideFiller && f.Zone == nil {
		d.filter.Status &= f.StatusMask
		d.filter.StatusMask |= nf.FixedTimeout // where f asks for the bit itself, mask and status have it already
	}
	return d
}

// Dump asks for a list and calls each with the body of every message of it, which each must not keep, and where the body
// lies in the datagram. After an error of each it is not called again, but the list is read to its end.
func (c *Conn) Dump(d Dump, each func(body []byte, at int) error) error {
	req, err := d.request()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return os.ErrClosed
	}
	if err := c.send(req); err != nil {
		return err
	}
	return c.list(each)
}

// request returns the message that asks for the list.
func (d Dump) request() (netlink.Message, error) {
	f := d.filter
	var attrs []netfilter.Attribute
	if f.MarkMask != 0 {
		attrs = append(attrs, attribute(ctaMark, netfilter.Uint32Bytes(f.Mark&f.MarkMask)), attribute(ctaMarkMask, netfilter.Uint32Bytes(f.MarkMask)))
	}
	if f.StatusMask != 0 {
		attrs = append(attrs, attribute(ctaStatus, netfilter.Uint32Bytes(uint32(f.Status&f.StatusMask))), attribute(ctaStatusMask, netfilter.Uint32Bytes(uint32(f.StatusMask))))
	}
	if f.Zone != nil {
		attrs = append(attrs, attribute(ctaZone, netfilter.Uint16Bytes(*f.Zone)))
	}
	return netfilter.MarshalNetlink(netfilter.Header{
		SubsystemID: d.subsystem, MessageType: d.message, Family: netfilter.ProtoFamily(f.Family), Flags: netlink.Dump,
	}, attrs)
}

// What a list of entries is selected by.
const (
	ctaStatus     = 3
	ctaMark       = 8
	ctaMarkMask   = 21
	ctaStatusMask = 26
)

// list reads a list up to its end.
func (c *Conn) list(each func(body []byte, at int) error) error {
	var failed error
	for {
		n, err := c.read()
		if err != nil {
			return errors.Join(failed, err)
		}
		done := false
		err = Messages(c.buf[:n], func(h MessageHeader, body []byte, at int) error {
			switch {
			case h.Sequence != c.seq || done: // the rest of an answer that an earlier error left behind
			case h.Type == uint16(netlink.Error), h.Type == uint16(netlink.Done):
				done = true
				if err := errno(body); err != nil {
					failed = errors.Join(failed, fmt.Errorf("the kernel says: %w", err))
				}
			case failed == nil:
				failed = each(body, at)
			}
			return nil
		})
		if err != nil || done {
			return errors.Join(failed, err)
		}
	}
}
