package packet_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/golden"
	"github.com/ctexp/go-ctexp/internal/packettest"
)

// Every kind of packet as a line and as its fields, without those that are the same in all.
func TestEveryKindHasALineAndFields(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]packet.Flow{"ipv4": web, "ipv6": web6} {
		var w strings.Builder
		for _, k := range packettest.Kinds(f) {
			fmt.Fprintf(&w, "%s\n\t%v\n", k.Name, k.Packet)
			for _, field := range k.Packet.Fields() {
				if slices.Contains(f.Raw(255, nil).Fields(), field) {
					continue
				}
				fmt.Fprintf(&w, "\t\t%s: %s\n", field.Name, clipped(field.Value))
			}
		}
		golden.Check(t, name+".kinds.golden", w.String())
	}
}

func clipped(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}

// NAT of an ICMP error also changes the quoted packet.
func TestDiffLooksIntoWhatAnErrorQuotes(t *testing.T) {
	t.Parallel()
	router := netip.MustParseAddr("203.0.113.1")
	want := packet.TimeExceeded(router, web.UDP([]byte("a text that is long enough to be shown in part and no more")))
	got := packet.TimeExceeded(router, web.UDP([]byte("a text that is long enough to be shown in part and no less")).
		With(packet.Src(netip.MustParseAddr("10.0.0.1")), packet.SrcPort(7)))
	golden.Check(t, "diff.golden", packet.Diff(want, got)+packet.Diff(packet.SYN(web), web6.UDP(nil))+packet.Diff(nil, packet.SYN(web)))
}

// UDP over IPv4 may have no checksum, over IPv6 it must have one (RFC 8200, 8.1).
func TestNoChecksumOverIPv6IsAWrongOne(t *testing.T) {
	t.Parallel()
	for f, want := range map[packet.Flow]string{web: "none", web6: "0x0000, right is 0x"} {
		fields := f.UDP(nil).With(packet.Checksum(0)).Fields()
		i := slices.IndexFunc(fields, func(f packet.Field) bool { return f.Name == "checksum" })
		if i < 0 || !strings.HasPrefix(fields[i].Value, want) {
			t.Errorf("got %v, want checksum %s", fields, want)
		}
	}
}

// Diff reports a difference in any byte.
func TestDiffMissesNoByte(t *testing.T) {
	t.Parallel()
	for _, k := range append(packettest.Kinds(web), packettest.Kinds(web6)...) {
		if len(k.Packet) > 200 {
			continue
		}
		for i := range k.Packet {
			p := packet.Packet(bytes.Clone(k.Packet))
			p[i] ^= 1
			if packet.Diff(k.Packet, p) == "" || packet.Diff(p, k.Packet) == "" {
				t.Errorf("%s: byte %d makes no difference", k.Name, i)
			}
		}
		if diff := packet.Diff(k.Packet, k.Packet.With()); diff != "" {
			t.Errorf("%s differs from its copy:\n%s", k.Name, diff)
		}
	}
}

// A transport header is shown field by field if it is whole, and its payload begins behind it.
func TestATransportHeaderEndsWhereItsProtocolSays(t *testing.T) {
	t.Parallel()
	echo := packet.Echo(web.Src.Addr(), web.Dst.Addr(), 1, 1, nil)
	for _, c := range []struct {
		packet packet.Packet
		size   int
	}{
		{packet.SYN(web), 20}, {packet.SYN(web).With(packet.Options(packet.MSS(1460))), 24}, {web.UDP(nil), 8}, {echo, 8},
		{web.Raw(2, []byte{0x11, 0, 0, 0, 0, 0, 0, 0}), 8}, {web.SCTP(1), 12}, {web.DCCP(packet.DCCP{Type: packet.DCCPData}), 16},
	} {
		if len(c.packet) < 20+c.size {
			t.Fatalf("%v has no header of %d bytes", c.packet, c.size)
		}
		whole := c.packet[:20+c.size]
		for n := 1; n < min(c.size, 20); n++ { // options of TCP that are cut are shown as such
			if fields := whole[:20+n].Fields(); len(only(fields, "cut header")) != 1 {
				t.Errorf("%d bytes of the header of %v are not cut: %v", n, whole, fields)
			}
		}
		if fields := only(whole.Fields(), "cut header"); len(fields) != 0 {
			t.Errorf("%v is cut: %v", whole, fields)
		}
		if got := whole.With(packet.Payload([]byte("abc"))); len(got) != len(whole)+3 || !bytes.HasSuffix(got, []byte("abc")) {
			t.Errorf("%v with another payload is %x", whole, []byte(got))
		}
	}
}

// If a header claims more options than there are bytes, Diff shows the data offset and the payload.
func TestDiffOfAWrongDataOffset(t *testing.T) {
	t.Parallel()
	syn := packet.SYN(web)
	golden.Check(t, "offset.golden", packet.Diff(syn, syn.With(packet.DataOffset(15))))
}
