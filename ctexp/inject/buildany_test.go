package inject_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/inject"
)

// values are what a packet of any protocol is made of, and what gopacket decodes from it again.
type values struct {
	Src, Dst uint16
	A, B     uint32
	Payload  string
}

// FuzzBuildOfAnyProtocol checks that Decode returns what the constructors were given. TCP is FuzzBuild's.
func FuzzBuildOfAnyProtocol(f *testing.F) {
	f.Add(uint16(10000), uint16(80), uint32(1), uint32(2), []byte("hello"))
	f.Add(uint16(0), uint16(65535), uint32(1<<31), uint32(0), []byte{0})
	f.Fuzz(func(t *testing.T, src, dst uint16, a, b uint32, payload []byte) {
		if len(payload) == 0 || len(payload) > 60000 {
			t.Skip("SCTP has no empty data, IP no larger packets")
		}
		want := values{src, dst, a, b, string(payload)}
		for _, f := range []inject.Flow{web, web6} {
			f.Src, f.Dst = netip.AddrPortFrom(f.Src.Addr(), src), netip.AddrPortFrom(f.Dst.Addr(), dst)
			for name, c := range map[string]struct {
				packet inject.Packet
				decode func(gopacket.Packet, *values)
				lacks  values // what the protocol has no place for
			}{
				"UDP":      {f.UDP(payload), decodeUDP, values{A: a, B: b}},
				"UDP-Lite": {f.UDPLite(uint16(8+len(payload)), payload), decodeUDPLite, values{A: a, B: b}},
				"SCTP":     {f.SCTP(a, inject.SCTPData(b, src, dst, payload)), decodeSCTP, values{}},
				"GRE":      {f.GRE(inject.GRE{Protocol: 0x1234, Key: &a, Seq: &b, Payload: payload}), decodeGRE, values{Src: src, Dst: dst}},
				"PPTP": {
					f.PPTP(inject.PPTP{CallID: dst, Seq: a, Ack: &b, Payload: payload}), decodePPTP, values{Src: src},
				},
				"DCCP": {f.DCCP(inject.DCCP{Type: inject.DCCPSync, Seq: uint64(a), Ack: uint64(b), Payload: payload}), decodeDCCP, values{}},
			} {
				got := c.lacks
				c.decode(inject.Decode(c.packet), &got)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
				for _, f := range only(c.packet.Fields(), "checksum", "header checksum") {
					if f.Value != "right" {
						t.Errorf("%s: %s %s", name, f.Name, f.Value)
					}
				}
			}
		}
	})
}

func decodeUDP(d gopacket.Packet, v *values) {
	if u, ok := d.Layer(layers.LayerTypeUDP).(*layers.UDP); ok {
		v.Src, v.Dst, v.Payload = uint16(u.SrcPort), uint16(u.DstPort), string(u.LayerPayload())
	}
}

func decodeUDPLite(d gopacket.Packet, v *values) {
	if u, ok := d.Layer(layers.LayerTypeUDPLite).(*layers.UDPLite); ok {
		v.Src, v.Dst, v.Payload = uint16(u.SrcPort), uint16(u.DstPort), string(u.LayerPayload())
	}
}

func decodeSCTP(d gopacket.Packet, v *values) {
	s, _ := d.Layer(layers.LayerTypeSCTP).(*layers.SCTP)
	c, _ := d.Layer(layers.LayerTypeSCTPData).(*layers.SCTPData)
	if s == nil || c == nil || uint16(s.SrcPort) != c.StreamId || uint16(s.DstPort) != c.StreamSequence {
		return
	}
	v.Src, v.Dst, v.A, v.B, v.Payload = c.StreamId, c.StreamSequence, s.VerificationTag, c.TSN, string(c.LayerPayload())
}

func decodeGRE(d gopacket.Packet, v *values) {
	if g, ok := d.Layer(layers.LayerTypeGRE).(*layers.GRE); ok {
		v.A, v.B, v.Payload = g.Key, g.Seq, string(g.LayerPayload())
	}
}

func decodePPTP(d gopacket.Packet, v *values) {
	if g, ok := d.Layer(layers.LayerTypeGRE).(*layers.GRE); ok && int(g.Key>>16) == len(g.LayerPayload()) {
		v.Dst, v.A, v.B, v.Payload = uint16(g.Key), g.Seq, g.Ack, string(g.LayerPayload())
	}
}

// decodeDCCP does itself what gopacket does not (RFC 4340, 5.1).
func decodeDCCP(d gopacket.Packet, v *values) {
	b := d.NetworkLayer().LayerPayload()
	n := int(b[4]) * 4
	number := func(b []byte) uint32 { return binary.BigEndian.Uint32(b[4:]) }
	v.Src, v.Dst = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	v.A, v.B, v.Payload = number(b[8:]), number(b[16:]), string(b[n:])
	if inject.DCCPType(b[8]>>1&15) != inject.DCCPSync {
		v.Payload = "of another type"
	}
}
