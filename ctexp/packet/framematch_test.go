package packet

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

var (
	client = netip.MustParseAddrPort("198.18.0.2:10003")
	server = netip.MustParseAddrPort("192.0.2.1:80")
	visit  = Flow{Src: client, Dst: server}
)

// frame is a packet on a link.
func frame(link string, d Dir, p Packet) Record {
	f := Record{Link: link, Dir: d, EtherType: header.EtherTypeIPv4, Packet: p}
	if p[0]>>4 == 6 {
		f.EtherType = header.EtherTypeIPv6
	}
	return f
}

// refused is the ICMP error by which the server refuses a packet.
func refused(p Packet) Packet {
	e, err := Build(
		&layers.IPv4{TTL: 64, Protocol: layers.IPProtocolICMPv4, SrcIP: server.Addr().AsSlice(), DstIP: client.Addr().AsSlice()},
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 3)}, gopacket.Payload(p[:28]))
	if err != nil {
		panic(err)
	}
	return e
}

// conversation are frames of many kinds.
var conversation = []Record{
	frame("tun0", In, SYN(visit)),
	frame("tun0", Out, SYNACK(visit.Reverse())),
	frame("tun1", Out, SYNACK(visit.Reverse())),
	frame("tun0", In, visit.TCP(TCP{Flags: FlagPSH | FlagACK, Seq: 2, Ack: 2, Payload: []byte("GET /")})),
	frame("tun0", Out, visit.Reverse().TCP(TCP{})),
	frame("tun0", In, visit.UDP([]byte("hello"))),
	frame("tun0", Out, refused(visit.UDP([]byte("hello")))),
	frame("tun0", In, Echo(client.Addr(), server.Addr(), 7, 1, nil)),
	{Link: "veth0", Dir: In, EtherType: header.EtherTypeARP, Packet: make([]byte, 28)},
	{
		Link: "veth0", Dir: In, EtherType: header.EtherTypeIPv4, Packet: SYN(visit),
		Ethernet: []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0, 0x20, 7, 8, 0},
	},
}

// Some frame left by tun0 that is SYN+ACK to port 10003.
func ExampleFrameMatch() {
	frames := conversation
	synack := FrameMatch{Packet: nf.Match{Out: "tun0", Proto: nf.TCP, DstPort: 10003}, TCPFlags: "S."}
	if !slices.ContainsFunc(frames, synack.Match) {
		fmt.Printf("none of %d frames is %v\n", len(frames), synack)
	}
	for _, f := range synack.Select(frames) {
		fmt.Println(f)
	}
	// Output:
	// 00:00:00.000000 tun0 Out IP 192.0.2.1.80 > 198.18.0.2.10003: Flags [S.], seq 1, ack 2, win 65535, length 0
}

func TestEveryFieldOfAFrameMatchMustAgree(t *testing.T) {
	t.Parallel()
	var got, want strings.Builder
	for _, c := range []struct {
		match FrameMatch
		want  string
	}{
		{FrameMatch{}, "any frame: 0 1 2 3 4 5 6 7 8 9"},
		{FrameMatch{Packet: nf.Match{In: "tun0"}}, "iifname tun0: 0 3 5 7"},
		{FrameMatch{Packet: nf.Match{Out: "tun0"}}, "oifname tun0: 1 4 6"},
		{FrameMatch{Packet: nf.Match{In: "veth0"}}, "iifname veth0: 8 9"},
		{FrameMatch{Packet: nf.Match{Src: netip.MustParsePrefix("192.0.2.0/24")}}, "ip saddr 192.0.2.0/24: 1 2 4 6"},
		{FrameMatch{Packet: nf.Match{Proto: nf.TCP, DstPort: 80}}, "tcp dport 80: 0 3 9"},
		{FrameMatch{TCPFlags: "S"}, "flags [S]: 0 9"},
		{FrameMatch{TCPFlags: ".S"}, "flags [.S]: 1 2"},
		{FrameMatch{TCPFlags: "none"}, "flags [none]: 4"},
		{FrameMatch{TCPFlags: "F"}, "flags [F]:"},
		{FrameMatch{Packet: nf.Match{Out: "tun1"}, TCPFlags: "S."}, "oifname tun1 flags [S.]: 2"},
		{FrameMatch{Tuple: visit.Tuple(nf.TCP)}, "tcp src=198.18.0.2 dst=192.0.2.1 sport=10003 dport=80: 0 3 9"},
		{FrameMatch{Tuple: conversation[7].Tuple()}, "icmp src=198.18.0.2 dst=192.0.2.1 type=8 code=0 id=7: 7"},
		{FrameMatch{About: visit.UDP(nil).Tuple()}, "about udp src=198.18.0.2 dst=192.0.2.1 sport=10003 dport=80: 6"},
		{FrameMatch{Data: "ET"}, `data "ET": 3`},
		{FrameMatch{Data: "hello"}, `data "hello": 5`},
		{FrameMatch{EtherType: header.EtherTypeARP}, "ether type 0x0806: 8"},
		{FrameMatch{VLAN: 7, SrcMAC: nf.MAC{2, 0, 0, 0, 0, 2}}, "ether saddr 02:00:00:00:00:02 vlan id 7: 9"},
		{FrameMatch{DstMAC: nf.MAC{2, 0, 0, 0, 0, 2}}, "ether daddr 02:00:00:00:00:02:"},
		{FrameMatch{VLAN: 8}, "vlan id 8:"},
	} {
		fmt.Fprintf(&got, "%v:", c.match)
		for i, f := range conversation {
			if c.match.Match(f) {
				fmt.Fprintf(&got, " %d", i)
			}
		}
		got.WriteString("\n")
		want.WriteString(c.want + "\n")
	}
	if diff := cmp.Diff(want.String(), got.String()); diff != "" {
		t.Errorf("match: frames (-want +got):\n%s", diff)
	}
}

// A match that can mean no frame would make every "no such frame" true.
func TestFrameMatchThatMeansNothingPanics(t *testing.T) {
	t.Parallel()
	for want, m := range map[string]FrameMatch{
		"packet: no frame both comes in by tun0 and leaves by tun1":                 {Packet: nf.Match{In: "tun0", Out: "tun1"}},
		`packet: TCP flags "SA": want some of "FSRP.UEW", each once, or "none"`:     {TCPFlags: "SA"},
		`packet: TCP flags "SS": want some of "FSRP.UEW", each once, or "none"`:     {TCPFlags: "SS"},
		`packet: TCP flags "S none": want some of "FSRP.UEW", each once, or "none"`: {TCPFlags: "S none"},
	} {
		func() {
			defer func() {
				if got := recover(); got != want {
					t.Errorf("%+v: panic: %v\nwant %v", m, got, want)
				}
			}()
			m.Match(Record{})
		}()
	}
}

func BenchmarkFrameMatch(b *testing.B) {
	m := FrameMatch{Packet: nf.Match{Out: "tun0", Proto: nf.TCP, DstPort: 10003}, TCPFlags: "S."}
	for b.Loop() {
		if !m.Match(conversation[1]) {
			b.Fatal("no match")
		}
	}
}
