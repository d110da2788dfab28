package header_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/pktline"
)

// seeds returns packets that differ in the headers before their transport header.
func seeds() []packet.Packet {
	src, dst, src6, dst6 := web.Src.Addr(), web.Dst.Addr(), web6.Src.Addr(), web6.Dst.Addr()
	all := []packet.Packet{
		packet.SYN(web), packet.SYN(web6), web.UDP([]byte("hello")), web6.UDP([]byte("hello")),
		packet.Echo(src, dst, 7, 1, []byte("x")), packet.Echo(src6, dst6, 7, 1, []byte("x")),
		packet.SYN(web).With(packet.IPOptions(packet.RouterAlert())),
		packet.SYN(web6).With(packet.HopByHop(), packet.DestinationOptions(), packet.AH(1, 2, make([]byte, 12)...)),
		packet.SYN(web6).With(packet.Routing(4, 0, append(make([]byte, 4), dst6.AsSlice()...)...)),
		packet.Unreachable(dst, 3, packet.SYN(web)), packet.PacketTooBig(dst6, 1280, packet.SYN(web6)),
		packet.Redirect(netip.MustParseAddr("fe80::1"), netip.MustParseAddr("fe80::2"), packet.SYN(web6)),
		packet.Unreachable(dst, 3, packet.Unreachable(src, 3, packet.SYN(web))),
		web.GRE(packet.GRE{Payload: packet.SYN(web)}), web.SCTP(0, packet.SCTPInit(1, 1)),
	}
	all = append(all, web6.UDP(make([]byte, 300)).Fragments(200)...)
	return append(all, web.UDP(make([]byte, 300)).Fragments(200)...)
}

// mutate returns a copy of a seed with some header bytes changed. It may be truncated.
func mutate(r *rand.Rand, seeds []packet.Packet) packet.Packet {
	p := slices.Clone(seeds[r.IntN(len(seeds))])
	for range r.IntN(4) {
		p[r.IntN(min(len(p), 96))] = byte(r.UintN(256))
	}
	if r.IntN(4) == 0 {
		p = p[:r.IntN(len(p)+1)]
	}
	if r.IntN(3) == 0 { // with the right length
		switch v := header.Version(p); {
		case v == 4 && len(p) >= 20:
			binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		case v == 6 && len(p) >= 40:
			binary.BigEndian.PutUint16(p[4:], uint16(len(p)-40))
		}
	}
	return p
}

// All readers of packets agree about 300,000 packets, most of which are malformed.
func TestReadersAgree(t *testing.T) {
	t.Parallel()
	const parts, each = 4, 75_000
	for part := range parts {
		t.Run(fmt.Sprint(part), func(t *testing.T) {
			t.Parallel()
			r, from := rand.New(rand.NewPCG(1, uint64(part))), seeds()
			for range each {
				if p := mutate(r, from); !agree(t, p) {
					t.Fatalf("about %x", []byte(p))
				}
			}
		})
	}
}

// For any bytes, the offsets of a View lie within them and in order, and all readers agree.
func FuzzView(f *testing.F) {
	r, from := rand.New(rand.NewPCG(3, 4)), seeds()
	for _, p := range from {
		f.Add([]byte(p))
	}
	for range 2000 {
		f.Add([]byte(mutate(r, from)))
	}
	f.Fuzz(func(t *testing.T, b []byte) { agree(t, b) })
}

// agree reports whether all readers of p agree.
func agree(t *testing.T, p packet.Packet) bool {
	ok := true
	for _, check := range []func(packet.Packet, header.View) string{
		consistent, asTuple, asQuoted, asChanged, asRemapped, asLine, asGopacket,
	} {
		if text := check(p, header.Parse(p)); text != "" {
			t.Errorf("%s\n%+v", text, header.Parse(p))
			ok = false
		}
	}
	return ok
}

// consistent checks the View on its own.
func consistent(p packet.Packet, v header.View) string {
	at := v.Header
	for e := range v.Extensions(p) {
		if e.At != at || e.Length < 8 {
			return fmt.Sprintf("extension header %+v, expected at %d", e, at)
		}
		at += e.Length
	}
	switch {
	case !v.HasAddrs():
		if v != (header.View{Version: v.Version, Fault: v.Fault}) {
			return "something is known of a packet without addresses"
		}
	case v.HasHeader() && at != v.Transport, v.Transport > v.End, v.End > len(p):
		return "places are wrong"
	case v.End != len(p) && v.End != max(v.Length, v.Transport):
		return "the end is neither that of the bytes nor that of the header"
	case v.FragOffset != 0 && v.Fault == header.NoFault:
		return "a later fragment has no transport header"
	}
	return ""
}

// asTuple compares with nf.TupleOf.
func asTuple(p packet.Packet, v header.View) string {
	got, ok := nf.TupleOf(p)
	want := nf.Tuple{}
	if v.HasHeader() {
		src, dst := v.Src(p), v.Dst(p)
		want = nf.Tuple{Proto: nf.Proto(v.Proto), Src: netip.AddrPortFrom(src, got.Src.Port()), Dst: netip.AddrPortFrom(dst, got.Dst.Port()), ICMP: got.ICMP}
	}
	if got != want || ok != v.HasHeader() {
		return fmt.Sprintf("nf.TupleOf: %v %v, %v", got.Proto, got, ok)
	}
	return ""
}

// asQuoted compares Packet.Quoted and Frame.About with the View.
func asQuoted(p packet.Packet, v header.View) string {
	want := v.Quoted(p)
	if !bytes.Equal(p.Quoted(), want) {
		return fmt.Sprintf("Packet.Quoted: %x, the View has %x", []byte(p.Quoted()), want)
	}
	about, _ := nf.TupleOf(want)
	if got := (packet.Record{EtherType: header.EtherTypeOf(p), Packet: p}).About(); got != about {
		return fmt.Sprintf("Frame.About: %v, the View has %v", got, about)
	}
	return ""
}

// portsOf returns the ports of a packet if it has any.
func portsOf(p packet.Packet, v header.View) (src, dst uint16, ok bool) {
	l4 := v.Body(p)
	if !nf.Proto(v.Proto).HasPorts() || len(l4) < 4 {
		return 0, 0, false
	}
	return binary.BigEndian.Uint16(l4), binary.BigEndian.Uint16(l4[2:]), true
}

// asChanged changes a port by With. With differs in two ways, because it also serves to repair packets: it accepts an
// IPv4 header whose length is wrong, and reads beyond the end of a packet if only its length is wrong.
func asChanged(p packet.Packet, v header.View) (text string) {
	defer func() {
		if r := recover(); r != nil && v.HasAddrs() {
			text = fmt.Sprint("With: ", r)
		}
	}()
	if same := p.With(); !v.HasAddrs() || !bytes.Equal(same, p) {
		return fmt.Sprintf("With without a change: %x", []byte(same))
	}
	_, dst, ok := portsOf(p, v)
	if !ok {
		if changes(p) && !onlyLengthIsWrong(p, v) {
			return "With changes a port that is not there"
		}
		return ""
	}
	changed := p.With(packet.DstPort(dst ^ 1))
	if _, got, ok := portsOf(changed, header.Parse(changed)); !ok || got != dst^1 || len(changed) != len(p) {
		return fmt.Sprintf("With another port: %x", []byte(changed))
	}
	return ""
}

// onlyLengthIsWrong reports whether the checksum is right if the packet extends to the end of the bytes.
func onlyLengthIsWrong(p packet.Packet, v header.View) bool {
	all := header.ParseAll(p)
	l4 := all.Body(p)
	at, size := header.SumField(all.Proto, l4)
	return v.End < len(p) && size > 0 && header.IsSum(l4[at:at+size], header.TransportSum(all.Proto, all.AddrBytes(p), l4))
}

// changes reports whether With can change a port of p.
func changes(p packet.Packet) (ok bool) {
	defer func() { ok = recover() == nil }()
	p.With(packet.DstPort(1))
	return true
}

// swap returns a Remap that inverts the first bit of each address, and maps the ports.
func swap(ports ...uint16) packet.Remap {
	m := packet.Remap{Addrs: map[netip.Prefix]netip.Prefix{}, Ports: map[uint16]uint16{}}
	for _, halves := range [][2]string{{"0.0.0.0/1", "128.0.0.0/1"}, {"::/1", "8000::/1"}} {
		low, high := netip.MustParsePrefix(halves[0]), netip.MustParsePrefix(halves[1])
		m.Addrs[low], m.Addrs[high] = high, low
	}
	for _, p := range ports {
		m.Ports[p] = p ^ 1
	}
	return m
}

// swapped returns an address as swap maps it.
func swapped(a netip.Addr) netip.Addr {
	b := a.AsSlice()
	if len(b) > 0 {
		b[0] ^= 0x80
	}
	a, _ = netip.AddrFromSlice(b)
	return a
}

// asRemapped compares what a Remap changes with the View, in the packet and in the packet that it quotes.
func asRemapped(p packet.Packet, v header.View) string {
	src, _, hasPorts := portsOf(p, v)
	got := swap(src).Apply(p)
	if !v.HasHeader() {
		if !bytes.Equal(got, p) {
			return fmt.Sprintf("Remap has changed a packet without a header: %x", []byte(got))
		}
		return ""
	}
	a, b := p.Tuple(), got.Tuple()
	if b.Src.Addr() != swapped(a.Src.Addr()) || b.Dst.Addr() != swapped(a.Dst.Addr()) || b.Proto != a.Proto {
		return fmt.Sprintf("Remap: %v has become %v", a, b)
	}
	if now, _, ok := portsOf(got, header.Parse(got)); ok != hasPorts || ok && now != src^1 {
		return fmt.Sprintf("Remap: the source port %d has become %d", src, now)
	}
	if a, b := p.Quoted().Tuple(), got.Quoted().Tuple(); b.Src.Addr() != swapped(a.Src.Addr()) || b.Dst.Addr() != swapped(a.Dst.Addr()) {
		return fmt.Sprintf("Remap: what is quoted, %v, has become %v", a, b)
	}
	return ""
}

// asLine compares the line with the View: its addresses and ports, and whether it has a quoted packet.
func asLine(p packet.Packet, v header.View) string {
	line := pktline.Format(p)
	if !v.HasAddrs() {
		if strings.Contains(line, " > ") {
			return "the line has addresses: " + line
		}
		return ""
	}
	src, dst := v.Src(p), v.Dst(p)
	want := fmt.Sprintf(" %v > %v: ", src, dst)
	if s, d, ok := portsOf(p, v); ok {
		want = fmt.Sprintf(" %v.%d > %v.%d: ", src, s, dst, d)
	}
	half := nf.Proto(v.Proto).HasPorts() && (len(v.Body(p)) == 2 || len(v.Body(p)) == 3) // the source port alone
	if !half && !strings.Contains(line, want) {
		return fmt.Sprintf("the line has no %q: %s", want, line)
	}
	if icmp := nf.Proto(v.Proto).IsICMP(); icmp && strings.Contains(line, " for (") != (len(v.Quoted(p)) > 0) {
		return fmt.Sprintf("the line quotes, or does not: %s", line)
	}
	return ""
}

// asGopacket compares with what gopacket decodes reliably: the IPv4 header, and the IPv6 extension headers up to the
// first that it does not know.
func asGopacket(p packet.Packet, v header.View) string {
	if v.Version == 4 {
		return asGopacket4(p, v)
	}
	if v.Version != 6 || !v.HasHeader() {
		return ""
	}
	d := gopacket.NewPacket(p[:v.End], layers.LayerTypeIPv6, gopacket.DecodeOptions{NoCopy: true})
	var got []header.Extension
	at := header.IPv6Size
	proto := v.Proto
	for i, l := range d.Layers() {
		if i > 0 && l.LayerType() == layers.LayerTypeIPv6 || l.LayerType() == gopacket.LayerTypeFragment { // gopacket looks behind no first fragment
			break
		}
		e := header.Extension{At: at, Length: len(l.LayerContents())}
		switch l := l.(type) {
		case *layers.IPv6:
			proto = uint8(l.NextHeader)
			continue
		case *layers.IPv6HopByHop:
			e.Proto, proto = header.ProtoHopByHop, uint8(l.NextHeader)
			e.Length = l.ActualLength
		case *layers.IPv6Routing:
			e.Proto, proto = header.ProtoRouting, uint8(l.NextHeader)
		case *layers.IPv6Destination:
			e.Proto, proto = header.ProtoDestination, uint8(l.NextHeader)
		case *layers.IPv6Fragment:
			e.Proto, proto = header.ProtoFragment, uint8(l.NextHeader)
		case *layers.IPSecAH:
			e.Proto, proto = header.ProtoAH, uint8(l.NextHeader)
		default:
			if _, failed := l.(gopacket.ErrorLayer); !failed && i > 0 && (at != v.Transport || proto != v.Proto) {
				return fmt.Sprintf("gopacket: %v of protocol %d at %d", l.LayerType(), proto, at)
			}
			return extensionsAgree(p, v, got)
		}
		if e.Length == 0 { // gopacket has failed to decode it
			break
		}
		got = append(got, e)
		at += e.Length
	}
	return extensionsAgree(p, v, got)
}

func extensionsAgree(p packet.Packet, v header.View, got []header.Extension) string {
	want := slices.Collect(v.Extensions(p))
	if len(got) > len(want) || !slices.Equal(got, want[:len(got)]) {
		return fmt.Sprintf("gopacket: extension headers %+v, the View has %+v", got, want)
	}
	return ""
}

func asGopacket4(p packet.Packet, v header.View) string {
	var ip layers.IPv4
	if ip.DecodeFromBytes(p, gopacket.NilDecodeFeedback) != nil || v.Length == 0 { // gopacket takes no length for all that there is
		return ""
	}
	src, dst := v.Src(p), v.Dst(p)
	got := fmt.Sprint(v.HasHeader(), v.Proto, v.Header, v.Length, v.FragOffset, v.More, v.FragID, src, dst)
	want := fmt.Sprint(true, uint8(ip.Protocol), int(ip.IHL)*4, ip.Length, int(ip.FragOffset)*8,
		ip.Flags&layers.IPv4MoreFragments != 0, ip.Id, ip.SrcIP, ip.DstIP)
	if got != want || !bytes.Equal(ip.Payload, p[v.Transport:v.End]) {
		return fmt.Sprintf("gopacket: %s, %d bytes, the View has %s, %d bytes", want, len(ip.Payload), got, v.End-v.Transport)
	}
	return ""
}
