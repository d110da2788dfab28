package inject

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/google/gopacket/layers"
)

// Change is one change of a packet, for With. Those that name something that the packet does not have, such as a port
// of an ICMP message or of a later fragment, panic there.
type Change struct {
	name  string
	apply func(*draft)
}

// With returns a copy of p with the changes, made in their order.
//
// Lengths and checksums that were right in p are right in the copy, whatever is changed. One that was wrong stays as it
// is, and so does a UDP checksum that is not there: who made it so, meant it. The checksum of a first fragment, which
// covers the others, too, is changed by the difference. Bytes behind the end of the packet, such as the padding of
// Ethernet, stay where they are.
//
// What is to be wrong comes last, wherever it stands among the changes: first Version, IHL, TotalLength and the like, then
// Checksum and HeaderChecksum, then Truncate. So a wrong length has a right checksum over it.
//
// It panics where p has no whole IPv4 or IPv6 header.
func (p Packet) With(changes ...Change) Packet {
	d := mustTakeApart("With", p)
	for _, c := range changes {
		if c.apply == nil {
			panic("inject: With: an empty Change")
		}
		d.name = c.name
		c.apply(d)
	}
	return d.assemble()
}

// fail panics for a change that is impossible.
func (d *draft) fail(format string, args ...any) {
	panic(fmt.Sprintf("inject: %s: %s", d.name, fmt.Sprintf(format, args...)))
}

// TTL sets the time to live, in IPv6 the hop limit.
func TTL(n uint8) Change {
	return Change{"TTL", func(d *draft) { d.header[d.view.TTLAt()] = n }}
}

// TOS sets the type of service with its ECN bits, in IPv6 the traffic class.
func TOS(n uint8) Change {
	return Change{"TOS", func(d *draft) {
		if d.v6() {
			d.header[0], d.header[1] = 0x60|n>>4, n<<4|d.header[1]&15
		} else {
			d.header[1] = n
		}
	}}
}

// FlowLabel sets the lower 20 bits as the flow label of IPv6.
func FlowLabel(n uint32) Change {
	return Change{"FlowLabel", func(d *draft) {
		if !d.v6() {
			d.fail("IPv4 has none")
		}
		if n >= 1<<20 {
			d.fail("%#x has more than 20 bits", n)
		}
		d.header[1] = d.header[1]&0xf0 | byte(n>>16)
		binary.BigEndian.PutUint16(d.header[2:], uint16(n))
	}}
}

// Src sets the source address, which is of the packet's family.
func Src(a netip.Addr) Change { return Change{"Src", func(d *draft) { d.setAddr(d.src(), a) }} }

// Dst sets the destination address, which is of the packet's family.
func Dst(a netip.Addr) Change { return Change{"Dst", func(d *draft) { d.setAddr(d.dst(), a) }} }

func (d *draft) setAddr(field []byte, a netip.Addr) {
	a = a.Unmap()
	if a.BitLen() != len(field)*8 {
		d.fail("%v in a packet of the other family", a)
	}
	copy(field, a.AsSlice())
}

// ID sets the identification by which fragments find together: of IPv4, or of the fragment header of IPv6, which only
// fragments have; there it may have 32 bits.
func ID(n uint32) Change {
	return Change{"ID", func(d *draft) {
		if !d.v6() {
			if n > maxLength {
				d.fail("%d has more than 16 bits", n)
			}
			binary.BigEndian.PutUint16(d.header[4:], uint16(n))
			return
		}
		binary.BigEndian.PutUint32(d.fragmentHeader()[4:], n)
	}}
}

// DontFragment sets or clears the bit of IPv4 by which routers refuse what is too large instead of fragmenting it.
func DontFragment(on bool) Change {
	return Change{"DontFragment", func(d *draft) {
		if d.v6() {
			d.fail("IPv6 has no such bit")
		}
		d.header[6] &^= 0x40
		if on {
			d.header[6] |= 0x40
		}
	}}
}

// IPOptions replaces the options of the IPv4 header, at most 40 bytes; padding and their lengths are filled in.
func IPOptions(opts ...layers.IPv4Option) Change {
	return Change{"IPOptions", func(d *draft) {
		if d.v6() {
			d.fail("IPv6 has extension headers instead: HopByHop, DestinationOptions")
		}
		var b []byte
		for _, o := range opts {
			b = appendOption(b, o.OptionType, o.OptionData)
		}
		b = d.padOptions(b)
		d.header = append(d.header[:20:20], b...)
		d.header[0] = 0x40 | byte(len(d.header)/4)
	}}
}

// appendOption appends an option as IPv4 and TCP write them: kinds 0 and 1 have neither a length nor data.
func appendOption(b []byte, kind byte, data []byte) []byte {
	b = append(b, kind)
	if kind > 1 {
		b = append(append(b, byte(2+len(data))), data...)
	}
	return b
}

// padOptions fills up the last word of a header's options.
func (d *draft) padOptions(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	if len(b) > maxHeader-20 {
		d.fail("%d bytes of options are more than %d", len(b), maxHeader-20)
	}
	return b
}

// RouterAlert is the option of IPv4 by which routers look at packets that are not for them (RFC 2113).
func RouterAlert() layers.IPv4Option {
	return layers.IPv4Option{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}
}
