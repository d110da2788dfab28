package packet

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/ctexp/go-ctexp/internal/header"
)

// Remap says what becomes of the addresses and ports of packets. The zero Remap leaves all as it is.
type Remap struct {
	// Addrs maps prefixes to prefixes of the same length: the rest of an address stays as it is. Of several prefixes the
	// longest decides. Addresses in none of them stay.
	Addrs map[netip.Prefix]netip.Prefix
	// Ports maps ports, whether they are source or destination.
	Ports map[uint16]uint16
}

// Apply returns p with its addresses and ports mapped, and those of the packet that an ICMP error or redirect quotes. Checksums are
// changed by as much as what they cover (RFC 1624), so that right ones stay right and wrong ones stay wrong, also in
// fragments; only SCTP, whose CRC cannot be changed so, keeps a right one if the packet is whole.
//
// What is not mapped: addresses in IPv6 routing headers and IPv4 options, those that a redirect names beside the packet that
// it quotes, addresses in payloads, and packets within tunnels. Apply panics if a prefix has no counterpart of its family and length.
func (m Remap) Apply(p Packet) Packet {
	apply, err := m.Compile()
	if err != nil {
		panic("packet: " + err.Error())
	}
	return apply(p)
}

// Compile returns Apply for many packets: what is wrong with m is an error once, and the zero Remap copies nothing.
func (m Remap) Compile() (apply func(Packet) Packet, err error) {
	c := remapper{ports: m.Ports}
	for _, from := range slices.SortedFunc(maps.Keys(m.Addrs), netip.Prefix.Compare) {
		to := m.Addrs[from]
		switch {
		case !from.IsValid() || !to.IsValid():
			return nil, fmt.Errorf("remap %v to %v: want addresses and a length, such as 192.0.2.0/24", from, to)
		case from.Addr().Is4In6() || to.Addr().Is4In6():
			return nil, fmt.Errorf("remap %v to %v: want IPv4 written as such", from, to)
		case from.Addr().Is4() != to.Addr().Is4():
			return nil, fmt.Errorf("remap %v to %v: one is IPv4, one IPv6", from, to)
		case from.Bits() != to.Bits():
			return nil, fmt.Errorf("remap %v to %v: they are not of one length", from, to)
		}
		c.addrs = append(c.addrs, mapping{from.Masked(), to.Masked()})
	}
	slices.SortStableFunc(c.addrs, func(a, b mapping) int { return cmp.Compare(b.from.Bits(), a.from.Bits()) })
	if len(c.addrs) == 0 && len(c.ports) == 0 {
		return func(p Packet) Packet { return p }, nil
	}
	return func(p Packet) Packet {
		p = slices.Clone(p)
		c.rewrite(p)
		return p
	}, nil
}

// remapper is a Remap that was checked.
type remapper struct {
	addrs []mapping // longest first
	ports map[uint16]uint16
}

type mapping struct{ from, to netip.Prefix }

// rewrite maps what is in p.
func (c remapper) rewrite(p []byte) {
	pl, ok := header.NewRewriter(p)
	if !ok {
		return
	}
	sctp := pl.Proto == header.ProtoSCTP && pl.SumSize == 4 && pl.IsSumRight(p)
	for _, at := range []int{pl.SrcAt(), pl.DstAt()} {
		c.addr(&pl, p, p[at:at+pl.AddrSize()])
	}
	if pl.HasPorts {
		for _, at := range []int{pl.Transport, pl.Transport + 2} {
			if to, ok := c.ports[binary.BigEndian.Uint16(p[at:])]; ok {
				pl.Put(p, p[at:at+2], []byte{byte(to >> 8), byte(to)}, false)
			}
		}
	}
	if sctp {
		pl.FixSum(p)
	}
	if quoted := pl.Quoted(p); quoted != nil {
		before := header.Sum(quoted)
		c.rewrite(quoted)
		pl.Adjust(p, header.Delta(before, header.Sum(quoted)))
	}
}

// addr maps one address, which is a piece of p.
func (c remapper) addr(pl *header.Rewriter, p, b []byte) {
	a, _ := netip.AddrFromSlice(b)
	for _, m := range c.addrs {
		if !m.from.Contains(a) {
			continue
		}
		now, to := a.As16(), m.to.Addr().As16()
		bits := m.to.Bits() + 8*(16-len(b))
		for i := range now {
			mask := byte(0xff) << max(0, min(8, 8*(i+1)-bits)) // the bits of this byte that belong to the prefix
			now[i] = to[i]&mask | now[i]&^mask
		}
		pl.Put(p, b, now[16-len(b):], true)
		return
	}
}
