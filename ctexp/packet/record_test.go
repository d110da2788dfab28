package packet_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/golden"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/packettest"
	"github.com/ctexp/go-ctexp/internal/pcap"
)

func ExampleReadRecording() {
	file, err := os.Open("testdata/ping.pcapng")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer file.Close()
	for r, err := range packet.ReadRecording(file) {
		fmt.Println(r.Number, r.Line(), err)
	}
	// Output:
	// 1 tun0 In  IP 198.18.0.2 > 192.0.2.1: ICMP echo request, id 1, seq 1, length 8 <nil>
	// 2 tun0 Out IP 192.0.2.1 > 198.18.0.2: ICMP echo reply, id 1, seq 1, length 8 <nil>
}

func TestARecordPrintsOneLine(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	udp := []byte{
		0x45, 0, 0, 29, 0, 0, 0x40, 0, 64, 17, 0, 0, 198, 18, 0, 2, 192, 0, 2, 1,
		0x27, 0x10, 0, 53, 0, 9, 0, 0, 'x',
	}
	var b strings.Builder
	for _, f := range []packet.Record{
		{Time: at, Link: "tun0", Dir: packet.In, EtherType: header.EtherTypeIPv4, Packet: udp},
		{Time: at, Link: "tun0", Dir: packet.Out, EtherType: header.EtherTypeIPv4, Packet: udp[:10]},
		{Time: at, Link: "veth0", Dir: packet.Out, EtherType: header.EtherTypeARP, Packet: append([]byte{0, 1, 8, 0, 6, 4, 0, 1}, make([]byte, 20)...)},
		{Time: at, Link: "veth0", Dir: packet.In, EtherType: 0x88cc, Packet: make([]byte, 60)},
	} {
		b.WriteString(f.String() + "\n")
		_ = f.Decode().String()
	}
	golden.Check(t, "frames.txt", b.String())
}

func FuzzRecord(f *testing.F) {
	f.Add(uint16(header.EtherTypeIPv4), []byte{0x45})
	f.Add(uint16(header.EtherTypeARP), []byte{0, 1})
	f.Fuzz(func(t *testing.T, etherType uint16, b []byte) {
		frame := packet.Record{Link: "tun0", EtherType: etherType, Packet: b}
		if strings.Contains(frame.String(), "\n") {
			t.Errorf("more than one line: %q", frame.String())
		}
		_ = frame.Decode().Layers()
	})
}

// parts has what the methods of a Record return.
type parts struct {
	Tuple, About nf.Tuple
	TCPFlags     string
	Data         string
}

func TestRecordsTellWhatTheyCarry(t *testing.T) {
	t.Parallel()
	tcp := web.TCP(packet.TCP{Flags: packet.FlagPSH | packet.FlagACK, Payload: []byte("GET /")})
	udp := web.UDP([]byte("hello"))
	forward := nf.Tuple{Proto: nf.TCP, Src: web.Src, Dst: web.Dst}
	datagram := nf.Tuple{Proto: nf.UDP, Src: web.Src, Dst: web.Dst}
	port := netip.AddrPortFrom
	for name, c := range map[string]struct {
		frame packet.Record
		want  parts
	}{
		"TCP":            {tcp.On("tun0", packet.In), parts{Tuple: forward, TCPFlags: "P.", Data: "GET /"}},
		"TCP header cut": {tcp[:39].On("tun0", packet.In), parts{Tuple: forward}},
		"TCP header longer than the packet": {
			set(tcp, 32, 0xf0).On("tun0", packet.In), parts{Tuple: forward, TCPFlags: "P."},
		},
		"UDP":                      {udp.On("tun0", packet.In), parts{Tuple: datagram, Data: "hello"}},
		"UDP with less in it":      {set(udp, 24, 0, 10).On("tun0", packet.In), parts{Tuple: datagram, Data: "he"}},
		"UDP that claims too much": {set(udp, 24, 1, 0).On("tun0", packet.In), parts{Tuple: datagram, Data: "hello"}},
		"ICMP error": {packet.Unreachable(web.Dst.Addr(), 3, udp[:28]).On("tun0", packet.Out), parts{
			Tuple: nf.Tuple{Proto: nf.ICMP, Src: port(web.Dst.Addr(), 0), Dst: port(web.Src.Addr(), 0), ICMP: nf.ICMPTuple{Type: 3, Code: 3}},
			About: datagram, Data: string(udp[:28]),
		}},
		"ICMP query": {packet.Echo(web.Src.Addr(), web.Dst.Addr(), 7, 1, tcp).On("tun0", packet.In), parts{
			Tuple: nf.Tuple{Proto: nf.ICMP, Src: port(web.Src.Addr(), 0), Dst: port(web.Dst.Addr(), 0), ICMP: nf.ICMPTuple{Type: 8, ID: 7}},
			Data:  string(tcp),
		}},
		"ARP":                    {packet.Record{EtherType: header.EtherTypeARP, Packet: make([]byte, 28)}, parts{}},
		"ARP that looks like IP": {packet.Record{EtherType: header.EtherTypeARP, Packet: tcp}, parts{}},
		"IPv6 that is IPv4":      {packet.Record{EtherType: header.EtherTypeIPv6, Packet: tcp}, parts{}},
		"nothing":                {packet.Record{EtherType: header.EtherTypeIPv4}, parts{}},
	} {
		f := c.frame
		got := parts{f.Tuple(), f.About(), f.TCPFlags(), string(f.Data())}
		if diff := cmp.Diff(c.want, got, cmpopts.EquateComparable(nf.Tuple{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// set returns a copy of p with other bytes at the offset.
func set(p packet.Packet, offset int, b ...byte) packet.Packet {
	p = bytes.Clone(p)
	copy(p[offset:], b)
	return p
}

func FuzzRecordParts(f *testing.F) {
	f.Add(uint16(header.EtherTypeIPv4), []byte(packet.Unreachable(web.Dst.Addr(), 3, web.UDP(nil))))
	f.Add(uint16(header.EtherTypeIPv6), []byte{0x60})
	f.Fuzz(func(t *testing.T, etherType uint16, b []byte) {
		frame := packet.Record{EtherType: etherType, Packet: b}
		if n := len(frame.Data()); n > len(b) {
			t.Errorf("%d bytes of data in %d", n, len(b))
		}
		if frame.TCPFlags() != "" && frame.Tuple().Proto != nf.TCP {
			t.Errorf("TCP flags in %v", frame.Tuple().Proto)
		}
		frame.About()
		_ = packet.Match{Flags: packet.FlagSYN, Contains: "x"}.Match(frame)
	})
}

// collect returns the records before the error.
func collect(seq iter.Seq2[packet.Record, error]) (all []packet.Record, err error) {
	for r, err := range seq {
		if err != nil {
			return all, err
		}
		all = append(all, r)
	}
	return all, nil
}

func TestRecordedPacketsHaveLinkDirectionAndTime(t *testing.T) {
	t.Parallel()
	syn, answer := packet.SYN(web), packet.SYNACK(web6)
	file := packettest.Recording([]string{"tun0", "tun1"}, pcap.Packet{Data: syn}, pcap.Packet{Link: "tun1", Dir: pcap.Out, Data: answer})

	got, err := collect(packet.ReadRecording(bytes.NewReader(file)))

	want := []packet.Record{
		{Number: 1, Time: packettest.Began, Link: "tun0", Dir: packet.In, EtherType: 0x0800, Packet: syn, Length: 40},
		{
			Number: 2, Time: packettest.Began.Add(time.Millisecond), Link: "tun1", Dir: packet.Out, EtherType: 0x86dd,
			Packet: answer, Length: 60,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestRecordedFramesHaveAddressesAndLine(t *testing.T) {
	t.Parallel()
	tagged := append(packet.SYN(web).Frame(packettest.ClientMAC, packettest.ServerMAC).VLAN(7), make([]byte, 6)...)
	arp := slices.Concat(packettest.ServerMAC[:], packettest.ClientMAC[:], []byte{8, 6, 'a', 'r', 'p'})
	got, err := collect(packet.ReadRecording(bytes.NewReader(packettest.Ethernet(1500, tagged, arp))))
	want := []packet.Record{
		{
			Number: 1, Time: packettest.Began, EtherType: 0x0800, Packet: packet.SYN(web), Length: 40,
			Ethernet: slices.Concat(packettest.ServerMAC[:], packettest.ClientMAC[:], []byte{0x81, 0, 0, 7, 8, 0}),
		},
		{Number: 2, Time: packettest.Began, EtherType: 0x0806, Packet: packet.Packet("arp"), Length: 3, Ethernet: slices.Concat(packettest.ServerMAC[:], packettest.ClientMAC[:], []byte{8, 6})},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Fatalf("%v (-want +got):\n%s", err, diff)
	}
	lines := fmt.Sprintf("%v\n%v %v %v", got[0], got[1], got[0].SrcMAC(), got[0].DstMAC())
	if want := fmt.Sprintf("22:13:20.000000 vlan 7, %v\n22:13:20.000000 ARP cut after 3 bytes %v %v", packet.SYN(web), packettest.ClientMAC, packettest.ServerMAC); lines != want {
		t.Errorf("lines %q, want %q", lines, want)
	}
}

func TestARecordingIsReadUpToItsFault(t *testing.T) {
	t.Parallel()
	file := packettest.Recording([]string{"tun0"}, pcap.Packet{Data: packet.SYN(web)}, pcap.Packet{Data: packet.ACK(web)})
	for name, c := range map[string]struct {
		file []byte
		n    int
		want string
	}{
		"truncated": {file[:len(file)-1], 1, "recording: packet 2: the file is truncated"},
		"garbage":   {append(file[:len(file):len(file)], make([]byte, 12)...), 2, "recording: packet 3: block of type 0x0: length 0"},
		"text":      {[]byte("hello, world"), 0, "recording: it is neither pcap nor pcapng"},
		"empty":     {nil, 0, "recording: the file is empty"},
	} {
		got, err := collect(packet.ReadRecording(bytes.NewReader(c.file)))
		if len(got) != c.n || err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %d packets, %v; want %d, %q", name, len(got), err, c.n, c.want)
		}
	}
}

func TestARecordingIsGoneThroughOnce(t *testing.T) {
	t.Parallel()
	seq := readFile(packettest.Recording([]string{"tun0"}, pcap.Packet{Data: packet.SYN(web)}))
	_, _ = collect(seq)
	got, err := collect(seq)
	if want := "recording: the sequence can be iterated only once"; len(got) != 0 || err == nil || err.Error() != want {
		t.Errorf("%v, %v; want %q", got, err, want)
	}
}

func TestAFailingReaderIsAnError(t *testing.T) {
	t.Parallel()
	why := errors.New("disk on fire")
	file := packettest.Recording([]string{"tun0"}, pcap.Packet{Data: packet.SYN(web)})
	got, err := collect(packet.ReadRecording(io.MultiReader(bytes.NewReader(file), failing{why})))
	if len(got) != 1 || !errors.Is(err, why) {
		t.Errorf("%d packets, %v", len(got), err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// Reading and remapping any recording terminates, and no packet becomes longer.
func FuzzReadRecording(f *testing.F) {
	f.Add(packettest.Recording([]string{"tun0", "tun1"}, pcap.Packet{Data: packet.SYN(web)}, pcap.Packet{Link: "tun1", Dir: pcap.Out, Data: web6.UDP(nil)}))
	f.Add(packettest.Ethernet(60, packet.SYN(web).Frame(packettest.ClientMAC, packettest.ServerMAC), packet.SYN(web6).Frame(packettest.ClientMAC, packettest.ServerMAC).VLAN(1)))
	m := packet.Remap{Addrs: everywhere, Ports: map[uint16]uint16{80: 8080}}
	f.Fuzz(func(t *testing.T, file []byte) {
		for r, err := range packet.ReadRecording(bytes.NewReader(file)) {
			if err != nil {
				break
			}
			if got := m.Apply(r.Packet); len(got) != len(r.Packet) || r.String() == "" {
				t.Errorf("%v became %v", r, got)
			}
		}
	})
}

func BenchmarkReadRecording(b *testing.B) {
	p := pcap.Packet{Data: packet.SYN(web)}
	one, two := packettest.Recording([]string{"tun0"}, p), packettest.Recording([]string{"tun0"}, p, p)
	b.SetBytes(int64(binary.Size(packet.SYN(web))))
	b.ReportAllocs()
	n := 0
	for _, err := range packet.ReadRecording(&packettest.Repeated{Head: one, Packets: two[len(one):], Times: b.N}) {
		if err != nil {
			b.Fatal(err)
		}
		if n++; n == b.N {
			break
		}
	}
}
