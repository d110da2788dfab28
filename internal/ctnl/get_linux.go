package ctnl

import (
	"fmt"

	"github.com/mdlayher/netlink"
	"github.com/ti-mo/netfilter"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// The request and the attributes of include/uapi/linux/netfilter/nfnetlink_conntrack.h that a GET needs.
const (
	msgCTGet = 1 // IPCTNL_MSG_CT_GET

	ctaTupleOrig = 1
	ctaZone      = 18

	ctaTupleIP    = 1
	ctaTupleProto = 2

	ctaIPv4Src = 1
	ctaIPv4Dst = 2
	ctaIPv6Src = 3
	ctaIPv6Dst = 4

	ctaProtoNum        = 1
	ctaProtoSrcPort    = 2
	ctaProtoDstPort    = 3
	ctaProtoICMPID     = 4
	ctaProtoICMPType   = 5
	ctaProtoICMPCode   = 6
	ctaProtoICMPv6ID   = 7
	ctaProtoICMPv6Type = 8
	ctaProtoICMPv6Code = 9
)

// Get returns the entry of a zone that has t as its original or its reply tuple. If there is none the error is
// unix.ENOENT, for which errors.Is(err, fs.ErrNotExist) holds. An entry whose time is over is not found, and is
// destroyed by looking for it (net/netfilter/nf_conntrack_core.c, ____nf_conntrack_find).
func (c *Conn) Get(t nf.Tuple, zone uint16) (nf.Entry, error) {
	e, _, err := c.GetWhole(t, zone)
	return e, err
}

// GetWhole is Get that tells of the first attribute that was passed over because it is unknown.
func (c *Conn) GetWhole(t nf.Tuple, zone uint16) (e nf.Entry, unknown *UnknownError, err error) {
	m, err := c.get(t, zone)
	if err == nil {
		e, unknown, err = DecodeWhole(m.Data, HeaderSize)
	}
	if err != nil {
		return nf.Entry{}, nil, fmt.Errorf("get entry %v %v: %w", t.Proto, t, err)
	}
	return e, unknown, nil
}

func (c *Conn) get(t nf.Tuple, zone uint16) (netlink.Message, error) {
	req, err := getRequest(t, zone)
	if err != nil {
		return netlink.Message{}, err
	}
	answers, err := c.Query(req)
	if err != nil {
		return netlink.Message{}, err
	}
	if len(answers) != 1 {
		return netlink.Message{}, fmt.Errorf("%d answers, want 1", len(answers))
	}
	return answers[0], nil
}

func getRequest(t nf.Tuple, zone uint16) (netlink.Message, error) {
	src, dst := t.Src.Addr().Unmap(), t.Dst.Addr().Unmap()
	if !src.IsValid() || !dst.IsValid() || src.Is4() != dst.Is4() {
		return netlink.Message{}, fmt.Errorf("source %v and destination %v are not of one family", src, dst)
	}
	from, to := uint16(ctaIPv4Src), uint16(ctaIPv4Dst)
	if src.Is6() {
		from, to = ctaIPv6Src, ctaIPv6Dst
	}
	attrs := []netfilter.Attribute{
		nested(ctaTupleOrig,
			nested(ctaTupleIP, attribute(from, src.AsSlice()), attribute(to, dst.AsSlice())),
			nested(ctaTupleProto, protoAttributes(t)...)),
	}
	if zone != 0 {
		attrs = append(attrs, attribute(ctaZone, netfilter.Uint16Bytes(zone)))
	}
	return netfilter.MarshalNetlink(netfilter.Header{
		SubsystemID: netfilter.NFSubsysCTNetlink,
		MessageType: msgCTGet,
		Family:      netfilter.ProtoFamily(nf.FamilyOf(src)),
	}, attrs)
}

func protoAttributes(t nf.Tuple) []netfilter.Attribute {
	icmp := func(id, typ, code uint16) []netfilter.Attribute {
		return []netfilter.Attribute{
			attribute(ctaProtoNum, []byte{uint8(t.Proto)}),
			attribute(id, netfilter.Uint16Bytes(t.ICMP.ID)),
			attribute(typ, []byte{t.ICMP.Type}),
			attribute(code, []byte{t.ICMP.Code}),
		}
	}
	switch t.Proto {
	case nf.ICMP:
		return icmp(ctaProtoICMPID, ctaProtoICMPType, ctaProtoICMPCode)
	case nf.ICMPv6:
		return icmp(ctaProtoICMPv6ID, ctaProtoICMPv6Type, ctaProtoICMPv6Code)
	}
	return []netfilter.Attribute{
		attribute(ctaProtoNum, []byte{uint8(t.Proto)}),
		attribute(ctaProtoSrcPort, netfilter.Uint16Bytes(t.Src.Port())),
		attribute(ctaProtoDstPort, netfilter.Uint16Bytes(t.Dst.Port())),
	}
}

func attribute(typ uint16, data []byte) netfilter.Attribute {
	return netfilter.Attribute{Type: typ, Data: data}
}

func nested(typ uint16, children ...netfilter.Attribute) netfilter.Attribute {
	return netfilter.Attribute{Type: typ, Nested: true, Children: children}
}
