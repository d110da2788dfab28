package netnsenv

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables/expr"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// matchExprs returns the nftables expressions that go on only for what the probe counts.
func matchExprs(p nf.Probe) []expr.Any {
	var out []expr.Any
	m := p.Match
	family := p.Family
	for _, a := range []netip.Prefix{m.Src, m.Dst} {
		if a.IsValid() {
			family = nf.FamilyOf(a.Addr())
		}
	}
	if family != 0 {
		out = append(out, &expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, equal([]byte{byte(family)}))
	}
	if m.In != "" {
		out = append(out, &expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, equal(ifname(m.In)))
	}
	if m.Out != "" {
		out = append(out, &expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, equal(ifname(m.Out)))
	}
	if m.Src.IsValid() {
		out = append(out, address(m.Src, 12, 8)...)
	}
	if m.Dst.IsValid() {
		out = append(out, address(m.Dst, 16, 24)...)
	}
	if m.Proto != 0 {
		out = append(out, &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equal([]byte{byte(m.Proto)}))
	}
	for offset, port := range []uint16{m.SrcPort, m.DstPort} {
		if port != 0 {
			out = append(out,
				&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: uint32(2 * offset), Len: 2},
				equal(binary.BigEndian.AppendUint16(nil, port)))
		}
	}
	if p.State != 0 {
		out = append(out, &expr.Ct{Key: expr.CtKeySTATE, Register: 1})
		out = append(out, masked(uint32(p.State), expr.CmpOpNeq, 0)...)
	}
	if p.Status != 0 {
		out = append(out, &expr.Ct{Key: expr.CtKeySTATUS, Register: 1})
		out = append(out, masked(uint32(p.Status), expr.CmpOpEq, uint32(p.Status))...)
	}
	if p.MarkMask != 0 {
		out = append(out, &expr.Ct{Key: expr.CtKeyMARK, Register: 1})
		out = append(out, masked(p.MarkMask, expr.CmpOpEq, p.Mark&p.MarkMask)...)
	}
	if p.Dir != 0 {
		reply := byte(0) // IP_CT_DIR_ORIGINAL
		if p.Dir == nf.Reply {
			reply = 1
		}
		out = append(out, &expr.Ct{Key: expr.CtKeyDIRECTION, Register: 1}, equal([]byte{reply}))
	}
	return out
}

func equal(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }

// ifname is a name as the kernel compares it, all 16 bytes.
func ifname(name string) []byte {
	b := make([]byte, 16)
	copy(b, name)
	return b
}

// address loads an address of the network header, which lies at another offset for IPv6, and compares its prefix.
func address(p netip.Prefix, offset4, offset6 uint32) []expr.Any {
	p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()).Masked()
	offset, size := offset4, 4
	if p.Addr().Is6() {
		offset, size = offset6, 16
	}
	mask := make([]byte, size)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(size)},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: uint32(size), Mask: mask, Xor: make([]byte, size)},
		equal(p.Addr().AsSlice()),
	}
}

// masked compares the bits of mask, which the kernel keeps in its own byte order.
func masked(mask uint32, op expr.CmpOp, want uint32) []expr.Any {
	return []expr.Any{
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binary.NativeEndian.AppendUint32(nil, mask), Xor: make([]byte, 4)},
		&expr.Cmp{Op: op, Register: 1, Data: binary.NativeEndian.AppendUint32(nil, want)},
	}
}
