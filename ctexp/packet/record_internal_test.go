package packet

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

func TestFramePrintsOneLine(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	udp := []byte{
		0x45, 0, 0, 29, 0, 0, 0x40, 0, 64, 17, 0, 0, 198, 18, 0, 2, 192, 0, 2, 1,
		0x27, 0x10, 0, 53, 0, 9, 0, 0, 'x',
	}
	var b strings.Builder
	for _, f := range []Record{
		{Time: at, Link: "tun0", Dir: In, EtherType: header.EtherTypeIPv4, Packet: udp},
		{Time: at, Link: "tun0", Dir: Out, EtherType: header.EtherTypeIPv4, Packet: udp[:10]},
		{Time: at, Link: "veth0", Dir: Out, EtherType: header.EtherTypeARP, Packet: append([]byte{0, 1, 8, 0, 6, 4, 0, 1}, make([]byte, 20)...)},
		{Time: at, Link: "veth0", Dir: In, EtherType: 0x88cc, Packet: make([]byte, 60)},
	} {
		b.WriteString(f.String() + "\n")
		_ = f.Decode().String()
	}
	path := filepath.Join("testdata", "frames.txt")
	if u := flag.Lookup("update"); u != nil && u.Value.String() == "true" {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(uint16(header.EtherTypeIPv4), []byte{0x45})
	f.Add(uint16(header.EtherTypeARP), []byte{0, 1})
	f.Fuzz(func(t *testing.T, etherType uint16, b []byte) {
		frame := Record{Link: "tun0", EtherType: etherType, Packet: b}
		if strings.Contains(frame.String(), "\n") {
			t.Errorf("more than one line: %q", frame.String())
		}
		_ = frame.Decode().Layers()
	})
}

// parts is what a frame tells of its packet.
type parts struct {
	Tuple, About nf.Tuple
	TCPFlags     string
	Data         string
}

func TestFramesTellWhatTheyCarry(t *testing.T) {
	t.Parallel()
	tcp := visit.TCP(TCP{Flags: FlagPSH | FlagACK, Payload: []byte("GET /")})
	udp := visit.UDP([]byte("hello"))
	forward := nf.Tuple{Proto: nf.TCP, Src: client, Dst: server}
	datagram := nf.Tuple{Proto: nf.UDP, Src: client, Dst: server}
	port := netip.AddrPortFrom
	for name, c := range map[string]struct {
		frame Record
		want  parts
	}{
		"TCP":            {frame("tun0", In, tcp), parts{Tuple: forward, TCPFlags: "P.", Data: "GET /"}},
		"TCP header cut": {frame("tun0", In, tcp[:39]), parts{Tuple: forward}},
		"TCP header longer than the packet": {
			frame("tun0", In, set(tcp, 32, 0xf0)), parts{Tuple: forward, TCPFlags: "P."},
		},
		"UDP":                      {frame("tun0", In, udp), parts{Tuple: datagram, Data: "hello"}},
		"UDP with less in it":      {frame("tun0", In, set(udp, 24, 0, 10)), parts{Tuple: datagram, Data: "he"}},
		"UDP that claims too much": {frame("tun0", In, set(udp, 24, 1, 0)), parts{Tuple: datagram, Data: "hello"}},
		"ICMP error": {frame("tun0", Out, refused(udp)), parts{
			Tuple: nf.Tuple{Proto: nf.ICMP, Src: port(server.Addr(), 0), Dst: port(client.Addr(), 0), ICMP: nf.ICMPTuple{Type: 3, Code: 3}},
			About: datagram, Data: string(udp[:28]),
		}},
		"ICMP query": {frame("tun0", In, Echo(client.Addr(), server.Addr(), 7, 1, tcp)), parts{
			Tuple: nf.Tuple{Proto: nf.ICMP, Src: port(client.Addr(), 0), Dst: port(server.Addr(), 0), ICMP: nf.ICMPTuple{Type: 8, ID: 7}},
			Data:  string(tcp),
		}},
		"ARP":                    {Record{EtherType: header.EtherTypeARP, Packet: make([]byte, 28)}, parts{}},
		"ARP that looks like IP": {Record{EtherType: header.EtherTypeARP, Packet: tcp}, parts{}},
		"IPv6 that is IPv4":      {Record{EtherType: header.EtherTypeIPv6, Packet: tcp}, parts{}},
		"nothing":                {Record{EtherType: header.EtherTypeIPv4}, parts{}},
	} {
		f := c.frame
		got := parts{f.Tuple(), f.About(), f.TCPFlags(), string(f.Data())}
		if diff := cmp.Diff(c.want, got, cmpopts.EquateComparable(nf.Tuple{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// set returns a copy of p with other bytes at the offset.
func set(p Packet, offset int, b ...byte) Packet {
	p = bytes.Clone(p)
	copy(p[offset:], b)
	return p
}

func FuzzFrameParts(f *testing.F) {
	f.Add(uint16(header.EtherTypeIPv4), []byte(refused(visit.UDP(nil))))
	f.Add(uint16(header.EtherTypeIPv6), []byte{0x60})
	f.Fuzz(func(t *testing.T, etherType uint16, b []byte) {
		frame := Record{EtherType: etherType, Packet: b}
		if n := len(frame.Data()); n > len(b) {
			t.Errorf("%d bytes of data in %d", n, len(b))
		}
		if frame.TCPFlags() != "" && frame.Tuple().Proto != nf.TCP {
			t.Errorf("TCP flags in %v", frame.Tuple().Proto)
		}
		frame.About()
		_ = FrameMatch{TCPFlags: "S", Data: "x"}.Match(frame)
	})
}
