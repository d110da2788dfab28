package packet_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/packettest"
)

func ExamplePacket_Fragments() {
	p := web.UDP(make([]byte, 3000)).With(packet.ID(7))
	for _, f := range p.Fragments(1500) {
		fmt.Println(f)
	}
	// Output:
	// IP 198.18.0.2.10000 > 192.0.2.1.80: UDP, length 3000 (frag 7:1480@0+)
	// IP 198.18.0.2 > 192.0.2.1: udp (frag 7:1480@1480+)
	// IP 198.18.0.2 > 192.0.2.1: udp (frag 7:48@2960)
}

func ExamplePacket_Fragment() {
	p := web6.UDP(make([]byte, 40))
	fmt.Println(p.Fragment(8, 16, true)) // the first one is missing
	fmt.Println(p.Fragment(16, 32, false).With(packet.ID(9)))
	// Output:
	// IP6 2001:db8::2 > 2001:db8::1: udp (frag 0:16@8+)
	// IP6 2001:db8::2 > 2001:db8::1: udp (frag 9:32@16)
}

// reassemble returns the packet of the fragments by RFC 791 and 8200, without the code under test.
func reassemble(fragments []packet.Packet) packet.Packet {
	body := map[int][]byte{}
	var first packet.Packet
	size := 0
	for _, f := range fragments {
		header, offset, more := fragmentHeader(f)
		if offset == 0 {
			first = slices.Clone(f[:header])
		}
		if !more {
			size = offset + len(f) - header
		}
		body[offset] = f[header:]
	}
	whole := make([]byte, size)
	for offset, b := range body {
		copy(whole[offset:], b)
	}
	if first[0]>>4 == 4 {
		first[6], first[7] = 0, 0
		p := append(first, whole...)
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		p[10], p[11] = 0, 0
		binary.BigEndian.PutUint16(p[10:], ^uint16(packettest.Sum(p[:int(p[0]&15)*4])))
		return p
	}
	at, next := 6, first[len(first)-8] // of the fragment header, the last of those in front
	for n := 40; n < len(first)-8; n += 8 + int(first[n+1])*8 {
		at = n
	}
	first[at] = next
	p := append(first[:len(first)-8], whole...)
	binary.BigEndian.PutUint16(p[4:], uint16(len(p)-40))
	return p
}

// fragmentHeader returns the size of a fragment's headers, its offset, and More Fragments.
func fragmentHeader(f packet.Packet) (size, offset int, more bool) {
	if f[0]>>4 == 4 {
		w := binary.BigEndian.Uint16(f[6:])
		return int(f[0]&15) * 4, int(w&0x1fff) * 8, w&0x2000 != 0
	}
	n, next := 40, f[6]
	for ; next != 44; n += 8 + int(f[n+1])*8 {
		next = f[n]
	}
	w := binary.BigEndian.Uint16(f[n+2:])
	return n + 8, int(w &^ 7), w&1 != 0
}

// defragmentable returns the packet that p's fragments reassemble to, which has no Don't Fragment.
func defragmentable(p packet.Packet) packet.Packet {
	if p[0]>>4 == 4 {
		return p.With(packet.DontFragment(false))
	}
	return p
}

func TestFragmentsMakeThePacketAgain(t *testing.T) {
	t.Parallel()
	for _, k := range append(packettest.Kinds(web), packettest.Kinds(web6)...) {
		for _, mtu := range []int{128, 300} {
			fs := k.Packet.Fragments(mtu)
			if len(k.Packet) <= mtu {
				if diff := cmp.Diff([]packet.Packet{k.Packet}, fs); diff != "" {
					t.Errorf("%s fits into %d bytes (-want +got):\n%s", k.Name, mtu, diff)
				}
				continue
			}
			slices.Reverse(fs)
			if diff := packet.Diff(defragmentable(k.Packet), reassemble(fs)); diff != "" {
				t.Errorf("%s in fragments of %d bytes, and whole again:\n%s", k.Name, mtu, diff)
			}
		}
	}
}

// As a router does with a smaller MTU.
func TestFragmentsOfFragmentsMakeThePacketAgain(t *testing.T) {
	t.Parallel()
	for _, p := range []packet.Packet{
		web.UDP(make([]byte, 2000)), web6.UDP(make([]byte, 2000)).With(packet.HopByHop(), packet.DestinationOptions()),
	} {
		var all []packet.Packet
		for _, f := range p.Fragments(1000) {
			all = append(all, f.Fragments(500)...)
		}
		if diff := packet.Diff(defragmentable(p), reassemble(all)); diff != "" {
			t.Errorf("whole again:\n%s", diff)
		}
	}
}

// If the addresses or ports of all fragments are changed, the checksum of the reassembled packet is right.
func TestFragmentsCanBeTranslated(t *testing.T) {
	t.Parallel()
	for _, p := range []packet.Packet{
		web.UDP(bytes.Repeat([]byte("odd"), 701)), web.TCP(packet.TCP{Seq: 1, Payload: make([]byte, 2000)}),
		packet.Echo(web.Src.Addr(), web.Dst.Addr(), 1, 2, make([]byte, 2000)), web.UDPLite(0, make([]byte, 2000)),
	} {
		var got []packet.Packet
		src, port := packet.Src(addrPort("10.1.2.3:0").Addr()), packet.SrcPort(77)
		want := defragmentable(p).With(src)
		for i, f := range p.Fragments(600) {
			f = f.With(src)
			if i == 0 && p.Tuple().Proto.HasPorts() {
				f, want = f.With(port), want.With(port)
			}
			got = append(got, f)
		}
		if diff := packet.Diff(want, reassemble(got)); diff != "" {
			t.Errorf("%v from elsewhere:\n%s", p, diff)
		}
	}
}

func TestImpossibleFragmentsPanic(t *testing.T) {
	t.Parallel()
	p, last := web.UDP(make([]byte, 100)), web.UDP(make([]byte, 100)).Fragment(8, 8, false).With(packet.FragmentOffset(65528, false))
	got := map[string]string{}
	for name, f := range map[string]func(){
		"nothing":              func() { packet.Packet(nil).Fragments(100) },
		"no room":              func() { p.Fragments(27) },
		"just room":            func() { p.Fragments(28) },
		"no room in IPv6":      func() { web6.UDP(nil).Fragments(47) },
		"a crooked offset":     func() { p.Fragment(4, 8, true) },
		"a negative offset":    func() { p.Fragment(-8, 8, true) },
		"a negative length":    func() { p.Fragment(8, -1, true) },
		"beyond the end":       func() { p.Fragment(8, 101, true) },
		"beyond what fits":     func() { last.Fragment(8, 0, true) },
		"at the last possible": func() { last.Fragment(0, 8, true) },
	} {
		got[name] = packettest.PanicOf(f)
	}
	want := map[string]string{
		"nothing":              "packet: Fragments: it is empty",
		"no room":              "packet: Fragments: an MTU of 27 leaves no room after the headers of " + p.String(),
		"just room":            "<nil>",
		"no room in IPv6":      "packet: Fragments: an MTU of 47 leaves no room after the headers of " + web6.UDP(nil).String(),
		"a crooked offset":     "packet: Fragment: offset 4 is not a multiple of 8",
		"a negative offset":    "packet: Fragment: bytes -8 to 0 of 108",
		"a negative length":    "packet: Fragment: bytes 8 to 7 of 108",
		"beyond the end":       "packet: Fragment: bytes 8 to 109 of 108",
		"beyond what fits":     "packet: Fragment: offset 65536 is beyond 65528",
		"at the last possible": "<nil>",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("panics (-want +got):\n%s", diff)
	}
}

// FuzzFragments checks that fragments fit the MTU and reassemble to the packet.
func FuzzFragments(f *testing.F) {
	f.Add([]byte("hello"), uint16(28), false, false)
	f.Add(make([]byte, 3000), uint16(1280), true, true)
	f.Fuzz(func(t *testing.T, payload []byte, mtu uint16, v6, extended bool) {
		if len(payload) > 8000 {
			return // too large to be quick
		}
		p := web.UDP(payload)
		if v6 {
			p = web6.UDP(payload)
			if extended {
				p = p.With(packet.HopByHop(), packet.Routing(4, 0, 0, 0, 0, 0), packet.DestinationOptions())
			}
		}
		fs := p.Fragments(max(int(mtu), 80))
		for _, f := range fs {
			if len(f) > max(int(mtu), 80) {
				t.Errorf("%d bytes for an MTU of %d", len(f), mtu)
			}
		}
		if len(fs) == 1 {
			return
		}
		if diff := packet.Diff(defragmentable(p), reassemble(fs)); diff != "" {
			t.Errorf("whole again:\n%s", diff)
		}
	})
}
