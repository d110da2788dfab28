package inject

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
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
	c, err := m.compile()
	if err != nil {
		panic("inject: " + err.Error())
	}
	p = slices.Clone(p)
	c.rewrite(p)
	return p
}

// remap is a Remap that was found to be right.
type remap struct {
	addrs []mapping // longest first
	ports map[uint16]uint16
}

type mapping struct{ from, to netip.Prefix }

func (m Remap) compile() (remap, error) {
	c := remap{ports: m.Ports}
	for _, from := range slices.SortedFunc(maps.Keys(m.Addrs), netip.Prefix.Compare) {
		to := m.Addrs[from]
		switch {
		case !from.IsValid() || !to.IsValid():
			return c, fmt.Errorf("remap %v to %v: want addresses and a length, such as 192.0.2.0/24", from, to)
		case from.Addr().Is4In6() || to.Addr().Is4In6():
			return c, fmt.Errorf("remap %v to %v: want IPv4 written as such", from, to)
		case from.Addr().Is4() != to.Addr().Is4():
			return c, fmt.Errorf("remap %v to %v: one is IPv4, one IPv6", from, to)
		case from.Bits() != to.Bits():
			return c, fmt.Errorf("remap %v to %v: they are not of one length", from, to)
		}
		c.addrs = append(c.addrs, mapping{from.Masked(), to.Masked()})
	}
	slices.SortStableFunc(c.addrs, func(a, b mapping) int { return cmp.Compare(b.from.Bits(), a.from.Bits()) })
	return c, nil
}

// none reports whether it changes nothing.
func (c remap) none() bool { return len(c.addrs) == 0 && len(c.ports) == 0 }

// rewrite maps what is in p.
func (c remap) rewrite(p []byte) {
	pl, ok := placesOf(p)
	if !ok {
		return
	}
	sctp := pl.Proto == header.ProtoSCTP && pl.sumSize == 4 && pl.sumIsRight(p)
	for _, at := range []int{pl.SrcAt(), pl.DstAt()} {
		c.addr(&pl, p, p[at:at+pl.AddrSize()])
	}
	if pl.ports {
		for _, at := range []int{pl.Transport, pl.Transport + 2} {
			if to, ok := c.ports[binary.BigEndian.Uint16(p[at:])]; ok {
				pl.put(p, p[at:at+2], []byte{byte(to >> 8), byte(to)}, false)
			}
		}
	}
	if sctp {
		pl.fixSum(p)
	}
	if quoted := pl.Quoted(p); quoted != nil {
		before := header.Sum(quoted)
		c.rewrite(quoted)
		pl.adjust(p, header.Delta(before, header.Sum(quoted)))
	}
}

// addr maps one address, which is a piece of p.
func (c remap) addr(pl *places, p, b []byte) {
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
		pl.put(p, b, now[16-len(b):], true)
		return
	}
}

// places says where a packet has what a Remap or a Flood changes, and the checksums over it. To find them and to change
// what is there takes no memory.
type places struct {
	header.View
	ports        bool // the transport header begins with ports
	sum, sumSize int  // checksum of the transport header; size 0: there is none
	optional     bool // zero means that there is no checksum
	pseudo       bool // the checksum covers the addresses, too, and can be corrected by what changes in them
}

// placesOf reports false where p has no network header that the kernel takes.
func placesOf(p []byte) (pl places, ok bool) {
	v := header.Parse(p)
	if !v.HasHeader() {
		return places{}, false
	}
	pl = places{View: v}
	l4 := v.Body(p)
	if len(l4) == 0 {
		return pl, true
	}
	pl.ports = nf.Proto(v.Proto).HasPorts() && len(l4) >= 4
	at, size := header.SumField(v.Proto, l4)
	pl.sum, pl.sumSize = v.Transport+at, size
	pl.pseudo = size == 2 && header.CoversAddrs(v.Proto)
	pl.optional = v.Proto == header.ProtoUDP && v.Version == 4
	return pl, true
}

// put writes value into field, which is a piece of p at an even offset, and corrects the checksums that cover it.
func (pl *places) put(p, field, value []byte, isAddr bool) {
	delta := header.Delta(header.Sum(field), header.Sum(value))
	copy(field, value)
	if isAddr && pl.Version == 4 {
		b := p[header.HeaderSumAt:]
		binary.BigEndian.PutUint16(b, header.Adjust(binary.BigEndian.Uint16(b), delta))
	}
	if !isAddr || pl.pseudo {
		pl.adjust(p, delta)
	}
}

// adjust corrects the checksum of the transport header.
func (pl *places) adjust(p []byte, delta uint32) {
	if pl.sumSize != 2 {
		return
	}
	b := p[pl.sum:]
	if sum := binary.BigEndian.Uint16(b); sum != 0 || !pl.optional {
		binary.BigEndian.PutUint16(b, header.NonZero(pl.Proto, header.Adjust(sum, delta)))
	}
}

// hasWholeSum reports whether there is a checksum and all that it covers.
func (pl *places) hasWholeSum() bool { return pl.sumSize > 0 && !pl.IsFragment() }

// sumIsRight reports whether the checksum of the transport header is right. That of a fragment is not.
func (pl *places) sumIsRight(p []byte) bool {
	return pl.hasWholeSum() &&
		header.GetSum(p[pl.sum:pl.sum+pl.sumSize]) == header.TransportSum(pl.Proto, pl.AddrBytes(p), pl.Body(p))
}

// fixSum makes the checksum of the transport header right, unless there is none or p is a fragment.
func (pl *places) fixSum(p []byte) {
	if pl.hasWholeSum() && (!pl.optional || header.GetSum(p[pl.sum:pl.sum+pl.sumSize]) != 0) {
		header.SetTransportSum(pl.Proto, pl.AddrBytes(p), pl.Body(p))
	}
}

// fixSums makes all checksums of p right that it has.
func fixSums(p []byte) {
	pl, ok := placesOf(p)
	if !ok {
		return
	}
	if pl.Version == 4 {
		header.SetHeaderSum(p)
	}
	pl.fixSum(p)
}
