package packet_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/packettest"
)

func ExampleBuild() {
	unreachable := layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodePort)
	p, err := packet.Build(
		&layers.IPv4{TTL: 64, SrcIP: []byte{198, 18, 0, 2}, DstIP: []byte{192, 0, 2, 1}},
		&layers.ICMPv4{TypeCode: unreachable},
		gopacket.Payload(web.Reverse().UDP(nil)),
	)
	fmt.Println(p, err)
	// Output: IP 198.18.0.2 > 192.0.2.1: ICMP port unreachable for (IP 192.0.2.1.80 > 198.18.0.2.10000: UDP, length 0), length 36 <nil>
}

// The 40 bytes of a SYN, written by hand.
func TestBuildLaysOutASYN(t *testing.T) {
	t.Parallel()
	want := "45000028" + "00004000" + "4006b2ba" + "c6120002" + "c0000201" + // IPv4
		"2710" + "0050" + "00000001" + "00000000" + "5002ffff" + "006c" + "0000" // TCP

	got := hex.EncodeToString(packet.SYN(web))

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("SYN (-want +got):\n%s", diff)
	}
}

func TestBuildFillsInWhatFollowsFromTheLayers(t *testing.T) {
	t.Parallel()
	p, err := packet.Build(
		&layers.IPv6{HopLimit: 64, SrcIP: web6.Src.Addr().AsSlice(), DstIP: web6.Dst.Addr().AsSlice()},
		&layers.UDP{SrcPort: 10000, DstPort: 80}, gopacket.Payload("hello"),
	)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(web6.UDP([]byte("hello")), p); diff != "" {
		t.Errorf("UDP without version, next header, lengths, checksum (-want +got):\n%s", diff)
	}
}

// Each layer's checksum is computed with the preceding network layer.
func TestBuildChecksTheInnerPacketWithItsOwnAddresses(t *testing.T) {
	t.Parallel()
	inner := web.Reverse().TCP(packet.TCP{Flags: packet.FlagSYN, Seq: 1})
	p, err := packet.Build(
		&layers.IPv4{TTL: 64, SrcIP: []byte{198, 18, 0, 9}, DstIP: []byte{192, 0, 2, 1}},
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeTimeExceeded, 0)},
		&layers.IPv4{
			TTL: 64, Flags: layers.IPv4DontFragment, SrcIP: []byte{192, 0, 2, 1}, DstIP: []byte{198, 18, 0, 2},
		},
		&layers.TCP{SrcPort: 80, DstPort: 10000, Seq: 1, SYN: true, Window: 65535},
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := packettest.CheckSums(p); err != nil {
		t.Errorf("outer packet: %v", err)
	}
	if diff := cmp.Diff(inner, p[28:]); diff != "" {
		t.Errorf("inner packet (-want +got):\n%s", diff)
	}
}

// A computed UDP checksum of zero is sent as 0xffff: zero means no checksum, which IPv6 does not allow.
func TestBuildWritesAZeroUDPChecksumAsOnes(t *testing.T) {
	t.Parallel()
	checksum := web6.UDP([]byte{0, 0})[46:48]

	p := web6.UDP(checksum) // which the sum lacks to be all ones

	if diff := cmp.Diff(packet.Packet{0xff, 0xff}, p[46:48]); diff != "" {
		t.Errorf("checksum (-want +got):\n%s", diff)
	}
	if err := packettest.CheckSums(p); err != nil {
		t.Error(err)
	}
}

func TestBuildNamesTheLayerThatIsWrong(t *testing.T) {
	t.Parallel()
	ip := func() *layers.IPv4 { return &layers.IPv4{SrcIP: make([]byte, 4), DstIP: make([]byte, 4)} }
	options := make([]layers.TCPOption, 41)
	for i := range options {
		options[i].OptionType = layers.TCPOptionKindNop
	}
	short := ip()
	short.Options = []layers.IPv4Option{{OptionType: 7, OptionLength: 1}}
	mixed := ip()
	mixed.DstIP = web6.Dst.Addr().AsSlice()
	foreign := struct{ *layers.IPv4 }{ip()} // a network layer that TCP has no checksum over
	got := map[string]string{}
	for name, ls := range map[string][]gopacket.SerializableLayer{
		"nothing":            nil,
		"nil":                {ip(), nil},
		"nil pointer":        {ip(), (*layers.TCP)(nil)},
		"Ethernet":           {&layers.Ethernet{}, ip()},
		"TCP alone":          {&layers.TCP{}},
		"no addresses":       {&layers.IPv4{}, &layers.TCP{}},
		"mixed addresses":    {mixed},
		"41 bytes of option": {ip(), &layers.TCP{Options: options}},
		"broken IPv4 option": {short},
		"foreign network":    {foreign, &layers.TCP{}},
		"64 KiB":             {ip(), gopacket.Payload(make([]byte, 65516))},
	} {
		p, err := packet.Build(ls...)
		text, _, _ := strings.Cut(fmt.Sprint(err), "runtime error") // what comes then is up to the version of Go
		got[name] = fmt.Sprint(p != nil, " ", text)
	}
	want := map[string]string{
		"nothing":            "false build packet: no layers",
		"nil":                "false build packet: layer 1 is nil",
		"nil pointer":        "false build packet: layer 1 is nil",
		"Ethernet":           "false build packet: a packet begins with IPv4 or IPv6, not with Ethernet",
		"TCP alone":          "false build packet: a packet begins with IPv4 or IPv6, not with TCP",
		"no addresses":       "false build packet: layer 1 (TCP): Invalid source IPv4 address (wrong length of 0 bytes instead of 4)",
		"mixed addresses":    "false build packet: layer 0 (IPv4): Invalid destination IPv4 address (address is IPv6)",
		"41 bytes of option": "false build packet: layer 1 (TCP): header of 64 bytes is longer than 60",
		"broken IPv4 option": "false build packet: gopacket: ",
		"foreign network":    "false build packet: layer 1: cannot use layer type IPv4 for tcp checksum network layer",
		"64 KiB":             "false build packet: layer 0 (IPv4): length of 65536 bytes is more than 65535",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

// Checked by the race detector: gopacket writes lengths and checksums into the layers that it serializes.
func TestBuildLeavesTheLayersAlone(t *testing.T) {
	t.Parallel()
	ip := &layers.IPv4{TTL: 64, SrcIP: []byte{198, 18, 0, 2}, DstIP: []byte{192, 0, 2, 1}}
	udp := &layers.UDP{SrcPort: 10000, DstPort: 80}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := packet.Build(ip, udp, gopacket.Payload("hello")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if diff := cmp.Diff([2]uint16{}, [2]uint16{ip.Checksum, udp.Length}); diff != "" {
		t.Errorf("checksum and length in the layers (-want +got):\n%s", diff)
	}
}

// FuzzBuild checks that Decode returns the fields that Build was given.
func FuzzBuild(f *testing.F) {
	f.Add(uint16(10000), uint16(81), uint32(1), uint32(2), uint8(0x12), uint16(512), []byte("hello"))
	f.Fuzz(func(t *testing.T, sport, dport uint16, seq, ack uint32, flags uint8, window uint16, payload []byte) {
		if len(payload) > 60000 {
			return // too large for a packet
		}
		for _, flow := range []packet.Flow{web, web6} {
			seg := packet.TCP{Flags: packet.TCPFlags(flags), Seq: seq, Ack: ack, Window: max(window, 1), Payload: payload}
			p := flow.TCP(seg)
			if err := packettest.CheckSums(p); err != nil {
				t.Error(err)
			}
			d := packet.Decode(p)
			tcp, _ := d.Layer(layers.LayerTypeTCP).(*layers.TCP)
			if tcp == nil {
				t.Fatalf("no TCP in %v: %v", p, d.ErrorLayer())
			}
			got := packet.TCP{
				Flags: packet.TCPFlags(tcp.Contents[13]), Seq: tcp.Seq, Ack: tcp.Ack, Window: tcp.Window, Payload: tcp.Payload,
			}
			if diff := cmp.Diff(seg, got); diff != "" && len(payload) > 0 {
				t.Errorf("segment (-want +got):\n%s", diff)
			}
		}
	})
}

func BenchmarkBuild(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		packet.SYN(web)
	}
}

// values has the fields of a packet of any protocol, as built and as decoded by gopacket.
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
			return // SCTP has no empty data, IP no larger packets
		}
		want := values{src, dst, a, b, string(payload)}
		for _, f := range []packet.Flow{web, web6} {
			f.Src, f.Dst = netip.AddrPortFrom(f.Src.Addr(), src), netip.AddrPortFrom(f.Dst.Addr(), dst)
			for name, c := range map[string]struct {
				packet packet.Packet
				decode func(gopacket.Packet, *values)
				lacks  values // what the protocol has no place for
			}{
				"UDP":      {f.UDP(payload), decodeUDP, values{A: a, B: b}},
				"UDP-Lite": {f.UDPLite(uint16(8+len(payload)), payload), decodeUDPLite, values{A: a, B: b}},
				"SCTP":     {f.SCTP(a, packet.SCTPData(b, src, dst, payload)), decodeSCTP, values{}},
				"GRE":      {f.GRE(packet.GRE{Protocol: 0x1234, Key: &a, Seq: &b, Payload: payload}), decodeGRE, values{Src: src, Dst: dst}},
				"PPTP": {
					f.PPTP(packet.PPTP{CallID: dst, Seq: a, Ack: &b, Payload: payload}), decodePPTP, values{Src: src},
				},
				"DCCP": {f.DCCP(packet.DCCP{Type: packet.DCCPSync, Seq: uint64(a), Ack: uint64(b), Payload: payload}), decodeDCCP, values{}},
			} {
				got := c.lacks
				c.decode(packet.Decode(c.packet), &got)
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

// decodeDCCP decodes DCCP (RFC 4340, 5.1), which gopacket does not.
func decodeDCCP(d gopacket.Packet, v *values) {
	b := d.NetworkLayer().LayerPayload()
	n := int(b[4]) * 4
	number := func(b []byte) uint32 { return binary.BigEndian.Uint32(b[4:]) }
	v.Src, v.Dst = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	v.A, v.B, v.Payload = number(b[8:]), number(b[16:]), string(b[n:])
	if packet.DCCPType(b[8]>>1&15) != packet.DCCPSync {
		v.Payload = "of another type"
	}
}
