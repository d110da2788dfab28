package pktline_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/pktline"
)

var (
	flow = packet.Flow{
		Src: netip.MustParseAddrPort("198.18.0.2:10000"),
		Dst: netip.MustParseAddrPort("192.0.2.1:80"),
	}
	flow6 = packet.Flow{
		Src: netip.MustParseAddrPort("[2001:db8::2]:10000"),
		Dst: netip.MustParseAddrPort("[2001:db8::1]:80"),
	}
)

func TestSCTPShowsItsChunks(t *testing.T) {
	t.Parallel()
	p := flow.SCTP(1, packet.SCTPSack(7), packet.SCTPData(100, 1, 2, []byte("hello")))
	golden(t, "sctp.golden",
		sample{"two chunks", p},
		sample{"an INIT", flow6.SCTP(0, packet.SCTPInit(1, 100))},
		sample{"none", flow.SCTP(1)},
		sample{"of an unknown type", flow.SCTP(1, packet.SCTPChunk{Type: 200, Value: []byte{1}})},
		sample{"a chunk without its fields", flow.SCTP(1, packet.SCTPChunk{Type: 1, Value: []byte{1}})},
		sample{"a chunk that is cut", p[:len(p)-8]},
		sample{"a chunk whose header is cut", p[:34]},
		sample{"a chunk of no length", set(p, 34, 0, 3)},
		sample{"half a header", p[:30]},
	)
}

func TestDCCPShowsItsNumbers(t *testing.T) {
	t.Parallel()
	p := flow.DCCP(packet.DCCP{Type: packet.DCCPReset, Seq: 1<<48 - 1, Ack: 5, ResetCode: 2})
	golden(t, "dccp.golden",
		sample{"a request", flow6.DCCP(packet.DCCP{Seq: 5, Service: 42})},
		sample{"data", flow.DCCP(packet.DCCP{Type: packet.DCCPData, Seq: 5, Payload: []byte("hello")})},
		sample{"a reset", p},
		sample{"of an unknown type", set(p, 28, 15<<1|1)},
		sample{"with short numbers", set(p, 28, 3<<1)},
		sample{"cut behind the number", p[:36]},
		sample{"cut within the number", p[:34]},
		sample{"half a header", p[:30]},
		sample{"a header of no length", set(p, 24, 0)},
		sample{"a header beyond the end", set(p, 24, 255)},
	)
}

func TestGREShowsWhatItCarries(t *testing.T) {
	t.Parallel()
	inner := flow.Reverse().UDP([]byte("hello"))
	p := flow.GRE(packet.GRE{Key: new(uint32(5)), Seq: new(uint32(6)), Checksum: true, Payload: inner})
	deep := inner
	for range 5 {
		deep = flow.GRE(packet.GRE{Payload: deep})
	}
	golden(t, "gre.golden",
		sample{"with all fields", p},
		sample{"IPv6 in it", flow.GRE(packet.GRE{Payload: flow6.UDP(nil)})},
		sample{"nothing in it", flow.GRE(packet.GRE{})},
		sample{"something else in it", flow.GRE(packet.GRE{Protocol: 0x6558, Payload: []byte("frame")})},
		sample{"PPTP", flow.PPTP(packet.PPTP{CallID: 5, Seq: 1, Ack: new(uint32(2)), Payload: []byte("ppp")})},
		sample{"PPTP, an acknowledgement", flow.PPTP(packet.PPTP{CallID: 5, Ack: new(uint32(2))})},
		sample{"many in each other", deep},
		sample{"cut within the key", p[:30]},
		sample{"a header beyond the end", flow.Raw(47, p[20:30])},
		sample{"half a header", p[:22]},
	)
}

func TestOtherProtocolsHaveALine(t *testing.T) {
	t.Parallel()
	src, group := flow.Src.Addr(), netip.MustParseAddr("239.1.2.3")
	lite := flow.UDPLite(10, []byte("hello"))
	golden(t, "protocols.golden",
		sample{"IGMP query", packet.IGMP(src, packet.IGMPQuery, netip.IPv4Unspecified())},
		sample{"IGMP query of a group", packet.IGMP(src, packet.IGMPQuery, group)},
		sample{"IGMP report", packet.IGMP(src, packet.IGMPReport, group)},
		sample{"IGMP report of version 1", packet.IGMP(src, 0x12, group)},
		sample{"IGMP report of version 3", packet.IGMP(src, packet.IGMPv3Report, group)},
		sample{"IGMP leave", packet.IGMP(src, packet.IGMPLeave, group)},
		sample{"IGMP of an unknown type", packet.IGMP(src, 0x99, group)},
		sample{"IGMP, half a header", packet.IGMP(src, packet.IGMPLeave, group)[:28]},
		sample{"UDP-Lite", lite},
		sample{"UDP-Lite, all covered", flow.UDPLite(0, []byte("hello"))},
		sample{"UDP-Lite, too much covered", lite.With(packet.UDPLength(14))},
		sample{"UDP-Lite, half a header", lite[:24]},
		sample{"extension headers", flow6.UDP(nil).With(packet.DestinationOptions(), packet.Routing(4, 0, 0, 0, 0, 0), packet.HopByHop(), packet.AH(1, 2, 0, 0, 0, 0))},
		sample{"a redirect", packet.Redirect(flow6.Dst.Addr(), flow6.Dst.Addr(), flow6.UDP(make([]byte, 8)))},
		sample{"a redirect that quotes nothing", packet.Redirect(flow6.Dst.Addr(), flow6.Dst.Addr(), flow6.UDP(nil))[:88]},
	)
}

func TestFramesHaveALine(t *testing.T) {
	t.Parallel()
	a, b := nf.MAC{2, 0, 0, 0, 0, 1}, nf.MAC{2, 0, 0, 0, 0, 2}
	whole := flow.UDP(nil).Frame(a, b)
	request := packet.ARPRequest(a, flow.Src.Addr(), flow.Dst.Addr())
	typed := func(payload ...byte) []byte { return slices.Concat(b[:], a[:], payload) }
	lines(t, "frame.golden", pktline.FormatFrame,
		sample{"a packet", whole},
		sample{"a packet of IPv6", flow6.UDP(nil).Frame(a, b)},
		sample{"in a VLAN", whole.VLAN(5)},
		sample{"in two", whole.VLAN(5).VLAN(6)},
		sample{"the provider's tag", set(whole.VLAN(5), 12, 0x88, 0xa8)},
		sample{"a cut tag", whole.VLAN(5)[:15]},
		sample{"a tag and nothing behind it", whole.VLAN(5)[:16]},
		sample{"ARP request", request},
		sample{"ARP reply", packet.ARPReply(b, flow.Dst.Addr(), a, flow.Src.Addr())},
		sample{"another operation of ARP", set(request, 21, 8)},
		sample{"another kind of ARP", set(request, 15, 6)},
		sample{"cut ARP", request[:40]},
		sample{"another type", typed(0x88, 0xcc, 1, 2, 3)},
		sample{"a length", typed(0, 3, 1, 2, 3)},
		sample{"no payload", whole[:14]},
		sample{"half a header", whole[:13]},
		sample{"nothing", nil},
	)
}

// FuzzFormatFrame checks that the result is one printable line for any bytes.
func FuzzFormatFrame(f *testing.F) {
	mac := nf.MAC{2, 0, 0, 0, 0, 1}
	for _, p := range []packet.Frame{
		flow.UDP(nil).Frame(mac, mac), flow6.UDP(nil).Frame(mac, mac).VLAN(5).VLAN(6),
		packet.ARPRequest(mac, flow.Src.Addr(), flow.Dst.Addr()),
	} {
		for n := range len(p) + 1 {
			f.Add([]byte(p[:n]))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		line := pktline.FormatFrame(b)
		odd := func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }
		if line == "" || strings.ContainsFunc(line, odd) {
			t.Errorf("% x has the line %q", b, line)
		}
	})
}
