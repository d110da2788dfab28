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

// Remap maps addresses and ports of packets to others. The zero Remap changes nothing.
type Remap struct {
	// Addrs maps prefixes to prefixes of the same length; the host part of an address is kept. The longest matching prefix
	// decides. Addresses in none of the prefixes are kept.
	Addrs map[netip.Prefix]netip.Prefix
	// Ports maps source and destination ports.
	Ports map[uint16]uint16
}

// Apply returns a copy of p with its addresses and ports mapped, and those of the packet that an ICMP error or redirect
// quotes. Checksums are updated incrementally (RFC 1624), so that right ones stay right and wrong ones wrong, also in
// fragments. The CRC of SCTP cannot be updated so: a right one is recomputed if the packet is complete.
//
// Not mapped are addresses in IPv6 routing headers and IPv4 options, the target and gateway of a redirect, addresses in
// payloads, and packets in tunnels. Apply panics if a prefix is mapped to one of another family or length.
func (m Remap) Apply(p Packet) Packet {
	apply, err := m.Compile()
	if err != nil {
		panic("packet: " + err.Error())
	}
	return apply(p)
}

// Compile returns a function that does what Apply does, for many packets: m is checked once, with an error instead of a
// panic, and the zero Remap returns its argument without a copy.
func (m Remap) Compile() (apply func(Packet) Packet, err error) {
	c := remapper{ports: m.Ports}
	for _, from := range slices.SortedFunc(maps.Keys(m.Addrs), netip.Prefix.Compare) {
		to := m.Addrs[from]
		switch {
		case !from.IsValid() || !to.IsValid():
			return nil, fmt.Errorf("remap %v to %v: want an address and a length, such as 192.0.2.0/24", from, to)
		case from.Addr().Is4In6() || to.Addr().Is4In6():
			return nil, fmt.Errorf("remap %v to %v: want IPv4 addresses, not IPv4-mapped IPv6", from, to)
		case from.Addr().Is4() != to.Addr().Is4():
			return nil, fmt.Errorf("remap %v to %v: one is IPv4, one IPv6", from, to)
		case from.Bits() != to.Bits():
			return nil, fmt.Errorf("remap %v to %v: their lengths differ", from, to)
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

// remapper is a checked Remap.
type remapper struct {
	addrs []mapping // longest first
	ports map[uint16]uint16
}

type mapping struct{ from, to netip.Prefix }

// rewrite maps the addresses and ports in p.
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

// addr maps the address b, which is a part of p.
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
