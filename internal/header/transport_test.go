package header_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
)

func TestDataIsBehindTheTransportHeader(t *testing.T) {
	t.Parallel()
	segment := web.TCP(packet.TCP{Seq: 1, Payload: []byte("hello")})
	datagram := web6.UDP([]byte("hello"))
	got, want := map[string]string{}, map[string]string{}
	for _, c := range []struct {
		name   string
		packet packet.Packet
		want   string
	}{
		{"TCP", segment, `"hello"`},
		{"TCP with options", segment.With(packet.Options(packet.MSS(1460))), `"hello"`},
		{"TCP with less than a header", segment.With(packet.DataOffset(4)), "nil"},
		{"TCP with more than there is", segment.With(packet.DataOffset(15)), "nil"},
		{"TCP, cut", segment[:39], "nil"},
		{"UDP", datagram, `"hello"`},
		{"UDP that claims less", datagram.With(packet.UDPLength(10)), `"he"`},
		{"UDP that claims more", datagram.With(packet.UDPLength(99)), `"hello"`},
		{"UDP that claims no header", datagram.With(packet.UDPLength(7)), `"hello"`},
		{"UDP, cut", datagram[:47], "nil"},
		{"echo", packet.Echo(web.Src.Addr(), web.Dst.Addr(), 1, 2, []byte("hello")), `"hello"`},
		{"SCTP", web.SCTP(0, packet.SCTPInit(1, 100)), "nil"},
		{"nothing behind it", web.UDP(nil), `""`},
	} {
		v := header.Parse(c.packet)
		data := header.Data(v.Proto, v.Body(c.packet))
		got[c.name], want[c.name] = fmt.Sprintf("%q", data), c.want
		if data == nil {
			got[c.name] = "nil"
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestGREFieldsFollowItsFlags(t *testing.T) {
	t.Parallel()
	body := func(p packet.Packet) []byte { return header.Parse(p).Body(p) }
	all := body(web.GRE(packet.GRE{Key: new(uint32(5)), Seq: new(uint32(6)), Checksum: true, Payload: packet.SYN(web6)}))
	pptp := body(web.PPTP(packet.PPTP{CallID: 5, Seq: 1, Ack: new(uint32(2)), Payload: []byte("PPP")}))
	got := map[string]header.GRE{}
	for name, b := range map[string][]byte{
		"bare": body(web.GRE(packet.GRE{Payload: packet.SYN(web)})), "all": all, "cut": all[:14], "PPTP": pptp, "PPTP without its bits": set(pptp, 0, 0x80, 1),
		"nothing": all[:3],
	} {
		got[name] = header.ParseGRE(b)
	}
	want := map[string]header.GRE{
		"bare":                  {Protocol: 0x0800, Length: 4},
		"all":                   {Protocol: 0x86dd, Key: 8, Seq: 12, Length: 16},
		"cut":                   {Protocol: 0x86dd, Key: 8, Length: 16},
		"PPTP":                  {Version: 1, Protocol: 0x880b, Key: 4, Seq: 8, Ack: 12, Length: 16},
		"PPTP without its bits": {Version: 1, Protocol: 0x880b, Key: 4, Length: 8},
		"nothing":               {},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
