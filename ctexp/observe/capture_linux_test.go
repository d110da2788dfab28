package observe_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
)

var neighbour = nf.MAC{2, 0, 0, 0, 0, 9}

// ethernet opens a host on an Ethernet link and sends it frames: an ARP request, a segment, one in a VLAN and one in
// two.
func ethernet(t testing.TB, c capturing) lab {
	t.Helper()
	x := c.open(t, netnsenv.Config{Silent: true, Links: []netnsenv.LinkConfig{
		{Name: "eth0", Kind: netnsenv.Veth, ARP: true, Prefixes: prefixes("192.0.2.1/24")},
	}})
	link := x.env.Links()[0]
	syn := packet.SYN(web).Frame(neighbour, link.HardwareAddr())
	ask := packet.ARPRequest(neighbour, web.Dst.Addr().Next(), web.Dst.Addr())
	if _, err := inject.New(link).SendFrames(t.Context(), packet.Frames(ask, syn, syn.VLAN(7), syn.VLAN(9).VLAN(7))); err != nil {
		t.Fatal(err)
	}
	return x
}

// Frames have their Ethernet header, whether it arrived or the host created it.
func TestFramesHaveTheirEthernetHeader(t *testing.T) {
	t.Parallel()
	for name, capture := range captures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := ethernet(t, capture)
			host := x.env.Links()[0].HardwareAddr()
			var got []string
			for _, f := range collect(t, x.o.Frames(t.Context())) {
				if f.Link == "eth0" {
					line := fmt.Sprint(f.SrcMAC(), " ", f.DstMAC(), " ", f.VLANs(), f.String()[len("15:04:05.000000"):])
					got = append(got, strings.ReplaceAll(line, host.String(), "host"))
				}
			}
			syn := "IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0"
			want := []string{
				"02:00:00:00:00:09 ff:ff:ff:ff:ff:ff [] eth0 In  ARP, who has 192.0.2.1 tell 192.0.2.2, length 28",
				"host 02:00:00:00:00:09 [] eth0 Out ARP, 192.0.2.1 is at host, length 28",
				"02:00:00:00:00:09 host [] eth0 In  " + syn,
				"02:00:00:00:00:09 host [7] eth0 In  vlan 7, " + syn,
				"02:00:00:00:00:09 host [7 9] eth0 In  vlan 7, vlan 9, " + syn,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			reply := packet.Match{Out: "eth0", EtherType: packet.EtherTypeARP, SrcMAC: host, DstMAC: neighbour}
			if n := len(reply.Select(collect(t, x.o.Frames(t.Context())))); n != 1 {
				t.Errorf("%d frames are %v, want 1", n, reply)
			}
		})
	}
}

// Wireshark shows addresses and tags if all frames have them, and tags and senders if those of a tun have none.
func TestPcapngHasTheEthernetHeaders(t *testing.T) {
	t.Parallel()
	x := ethernet(t, capturing{})
	frames := collect(t, x.o.Frames(t.Context()))
	tun := packet.Record{Time: frames[0].Time, Link: "tun7", EtherType: 0x0800, Packet: packet.SYN(web)}
	host := x.env.Links()[0].HardwareAddr().String()
	show := func(frames []packet.Record, source string) string {
		file := writePcapng(t, frames, nil)
		lines := wireshark(t, "tshark", "-n", "-r", file, "-T", "fields", "-E", "separator= ", "-e", "frame.protocols",
			"-e", source, "-e", "vlan.id", "-e", "ip.src", "-e", "arp.opcode")
		return strings.ReplaceAll(strings.Join(lines, "\n"), host, "host")
	}
	got := show(frames, "eth.src") + "\n" + show(append(frames, tun), "sll.src.eth")
	lines := func(begin string) string {
		const n = "02:00:00:00:00:09"
		return begin + ":ethertype:arp " + n + "   1\n" +
			begin + ":ethertype:arp host   2\n" +
			begin + ":ethertype:ip:tcp " + n + "  198.18.0.2 \n" +
			begin + ":ethertype:vlan:ethertype:ip:tcp " + n + " 7 198.18.0.2 \n" +
			begin + ":ethertype:vlan:ethertype:vlan:ethertype:ip:tcp " + n + " 7,9 198.18.0.2 "
	}
	want := lines("eth") + "\n" + lines("sll") + "\nsll:ethertype:ip:tcp   198.18.0.2 "
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// writePcapng writes frames to a file and returns its name.
func writePcapng(t testing.TB, frames []packet.Record, comment func(packet.Record) string) string {
	t.Helper()
	var b bytes.Buffer
	if err := observe.WritePcapng(&b, frames, comment); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "capture.pcapng")
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// wireshark runs one of Wireshark's programs and returns its output line by line. It skips the test if the program is
// not installed, and fails if it prints errors.
func wireshark(t testing.TB, program string, args ...string) []string {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		needs.Check(t, &nf.UnsupportedError{Need: "tshark", Hint: "apt-get install tshark", Err: err})
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "LC_ALL=C.UTF-8", "TZ=UTC")
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	for line := range strings.Lines(complaints.String()) {
		if !strings.Contains(line, "Running as user \"root\"") && strings.TrimSpace(line) != "" {
			err = errors.Join(err, errors.New(line))
		}
	}
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	return strings.Split(strings.TrimRight(string(out), "\n"), "\n")
}

// tshark returns number, time, link, direction, length and comment of each packet.
func tshark(t testing.TB, file string) []string {
	t.Helper()
	return wireshark(t, "tshark", "-n", "-r", file, "-T", "fields", "-E", "separator=|", "-e", "frame.number", "-e", "frame.time_epoch",
		"-e", "frame.interface_name", "-e", "frame.packet_flags_direction", "-e", "frame.len", "-e", "frame.comment")
}

// shown is what tshark should print for frames with a header of this size.
func shown(frames []packet.Record, header int, comment func(packet.Record) string) []string {
	var lines []string
	for i, f := range frames {
		lines = append(lines, fmt.Sprintf("%d|%d.%09d|%s|0x%08x|%d|%s",
			i+1, f.Time.Unix(), f.Time.Nanosecond(), f.Link, uint8(f.Dir), header+len(f.Packet), comment(f)))
	}
	return lines
}

// Frames that are not IP are preceded by a header with their protocol.
func TestPcapngOfAnyFrameIsReadByTshark(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_700_000_000, 1)
	arp := []byte{0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 9}
	frames := []packet.Record{
		{Time: at, Link: "veth0", Dir: packet.In, EtherType: 0x0806, Packet: arp},
		{Time: at.Add(999_999_999), Link: "tun0", Dir: packet.Out, EtherType: 0x0800, Packet: []byte{
			0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 17, 0xb0, 0xad, 192, 0, 2, 1, 198, 18, 0, 2, 0, 80, 0x27, 0x10, 0, 8, 0, 0,
		}},
	}
	comment := func(f packet.Record) string { return "über " + f.Link }
	file := writePcapng(t, frames, comment)

	if diff := cmp.Diff(shown(frames, 16, comment), tshark(t, file)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	protocols := wireshark(t, "tshark", "-n", "-r", file, "-T", "fields", "-e", "frame.protocols")
	if diff := cmp.Diff([]string{"sll:ethertype:arp", "sll:ethertype:ip:udp"}, protocols); diff != "" {
		t.Errorf("protocols (-want +got):\n%s", diff)
	}
}

// libpcap reads no file with several links that have no header, so that these have one, and a single link has none.
func TestPcapngOfSeveralTunsHasHeaders(t *testing.T) {
	t.Parallel()
	one := []packet.Record{packet.SYN(web).On("tun0", packet.In)}
	both := append(slices.Clone(one), packet.SYN(web).On("tun1", packet.Out))
	var got []string
	for _, frames := range [][]packet.Record{one, both} {
		got = append(got, wireshark(t, "tshark", "-n", "-r", writePcapng(t, frames, nil), "-T", "fields", "-e", "frame.protocols")...)
	}
	if diff := cmp.Diff([]string{"raw:ip:tcp", "sll:ethertype:ip:tcp", "sll:ethertype:ip:tcp"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPcapngWithoutFramesIsRead(t *testing.T) {
	t.Parallel()
	got := wireshark(t, "capinfos", "-T", "-r", "-c", writePcapng(t, nil, nil))
	if _, count, _ := strings.Cut(got[0], "\t"); count != "0" {
		t.Errorf("%q packets", count)
	}
}

func TestPcapngThatCannotBeWrittenIsAnError(t *testing.T) {
	t.Parallel()
	if err := observe.WritePcapng(closedPipe{}, nil, nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, os.ErrClosed }

// The capture of a real experiment has each packet's verdict as its comment, and tshark reads it without warnings.
func TestPcapngOfAnExperimentIsReadByTshark(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{})
	x.sendSYNs(3, web)
	frames := collect(t, x.o.Frames(t.Context()))
	comment := func(f packet.Record) string { return f.TCPFlags() }
	file := writePcapng(t, frames, comment)

	header, layer := 0, "rawip"
	if x.env.Links()[0].L2() { // there is no tun here
		header, layer = 14, "ether"
	}
	if diff := cmp.Diff(shown(frames, header, comment), tshark(t, file)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	table := wireshark(t, "capinfos", "-T", "-r", "-E", "-c", "-o", "-I", file)
	want := fmt.Sprintf("%s\t%s\t%d\tTrue", file, layer, len(frames))
	if diff := cmp.Diff(want, strings.Join(strings.Split(table[0], "\t")[:4], "\t")); diff != "" {
		t.Errorf("capinfos (-want +got):\n%s\n%v", diff, table)
	}
}

// collect returns everything that a sequence yields. An error fails the test.
func collect[T any](t testing.TB, seq iter.Seq2[T, error]) []T {
	t.Helper()
	var all []T
	for v, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

func BenchmarkWritePcapng(b *testing.B) {
	x := open(b, netnsenv.Config{Silent: true})
	x.sendSYNs(1000, web)
	frames := collect(b, x.o.Frames(b.Context()))
	for b.Loop() {
		if err := observe.WritePcapng(io.Discard, frames, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(frames)), "ns/frame")
}

// brief prints a frame without its time. It skips IPv6, which a new link may send on its own.
func (l lab) frames() []string {
	l.Helper()
	var s []string
	for f, err := range l.o.Frames(l.Context()) {
		if err != nil {
			l.Fatal(err)
		}
		if f.EtherType == 0x0800 {
			_, brief, _ := strings.Cut(f.String(), " ")
			s = append(s, brief)
		}
	}
	return s
}

// capturing is a way to capture frames.
type capturing struct {
	ring  int  // size
	later bool // the ring takes the place of the socket
}

var captures = map[string]capturing{"socket": {}, "ring": {ring: 1}, "later ring": {later: true}}

// open is open with this way to capture.
func (c capturing) open(t testing.TB, cfg netnsenv.Config, changes ...func(*observe.Config)) lab {
	t.Helper()
	x := open(t, cfg, append(changes, func(cfg *observe.Config) { cfg.Ring = c.ring })...)
	if c.later {
		needsLaterRing(t)
		if !observe.TakeRing(x.o) {
			t.Fatal("no ring took the place of the socket")
		}
	}
	return x
}

// A frame is recorded as soon as the write that injected it has returned, and so is the answer of the host.
func TestFramesAreRecordedAtOnce(t *testing.T) {
	t.Parallel()
	for name, capture := range captures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := capture.open(t, netnsenv.Config{})
			var want []string
			for i := range 100 {
				x.send(packet.SYN(web.Nth(i)))
				want = append(want,
					fmt.Sprintf("tun0 In  IP 198.18.0.2.%d > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0", 10000+i),
					fmt.Sprintf("tun0 Out IP 192.0.2.1.80 > 198.18.0.2.%d: Flags [R.], seq 0, ack 2, win 0, length 0", 10000+i))
				if diff := cmp.Diff(want, x.frames()); diff != "" {
					t.Fatalf("after %d SYNs (-want +got):\n%s", i+1, diff)
				}
			}
		})
	}
}

// Frames at the far end of a veth link are not recorded, and those on loopback are recorded once.
func TestFramesAreRecordedOnce(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, Links: []netnsenv.LinkConfig{{
		Name: "veth0", Kind: netnsenv.Veth, Prefixes: prefixes("192.0.2.1/24"), Routes: prefixes("0.0.0.0/0"),
	}}})
	x.send(packet.SYN(web))
	from, err := x.env.ListenPacket(t.Context(), "udp4", "127.0.0.1:4000")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	if _, err := from.WriteTo([]byte("hello"), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4000}); err != nil {
		t.Fatal(err)
	}

	want := []string{
		"veth0 In  IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0",
		"lo In  IP 127.0.0.1.4000 > 127.0.0.1.4000: UDP, length 5",
	}
	var got []string
	x.await("both frames are there", func() bool { got = x.frames(); return len(got) >= len(want) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFramesDecode(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	p := web.UDP([]byte("hello"))
	x.send(p)
	for f, err := range x.o.Frames(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(p, f.Packet); diff != "" {
			t.Errorf("bytes (-want +got):\n%s", diff)
		}
		udp, ok := f.Decode().TransportLayer().(*layers.UDP)
		if !ok || string(udp.Payload) != "hello" {
			t.Errorf("decoded: %v", f.Decode())
		}
		if f.Time.IsZero() {
			t.Error("no time")
		}
	}
}

func TestMaxFramesIsAnError(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true}, func(c *observe.Config) { c.MaxFrames = 3 })
	x.sendSYNs(10, web)
	n := 0
	var last error
	for f, err := range x.o.Frames(t.Context()) {
		if err == nil && f.Link == "tun0" {
			n++
		}
		last = err
	}
	if n != 3 || !errors.Is(last, observe.ErrFramesLost) || !strings.Contains(last.Error(), "7 exceeded the limit") {
		t.Errorf("%d frames, then %v", n, last)
	}
}

// Frames that the kernel dropped are counted, with a socket and with a ring.
func TestFramesDroppedByTheKernelAreAnError(t *testing.T) {
	t.Parallel()
	for name, capture := range captures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := capture.open(t, netnsenv.Config{Silent: true, NoPath: true})
			release := observe.HoldCapture(x.o)
			const sent = 60000
			x.sendSYNs(sent/3, web)
			x.sendSYNs(sent/3, web)
			x.sendSYNs(sent/3, web)
			release()

			n, last := counted(x.o.Frames(t.Context()))
			if !errors.Is(last, observe.ErrFramesLost) {
				t.Fatalf("%d frames, then %v", n, last)
			}
			if want := fmt.Sprintf("%d found the kernel's buffer full", sent-n); !strings.Contains(last.Error(), want) {
				t.Errorf("%d frames, then %v; want %q", n, last, want)
			}
		})
	}
}

func TestFramesThatAreOffAreAnError(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{}, func(c *observe.Config) { c.NoFrames = true })
	if err := lastError(x.o.Frames(t.Context())); !errors.Is(err, observe.ErrOff) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkCapture(b *testing.B) {
	for _, c := range []struct {
		name   string
		change func(*observe.Config)
	}{
		{"none", func(c *observe.Config) { c.NoFrames = true }},
		{"socket and ring", func(*observe.Config) {}},
		{"ring of 8 MiB", func(c *observe.Config) { c.Ring = 8 << 20 }},
	} {
		b.Run(c.name, func(b *testing.B) {
			x := open(b, netnsenv.Config{Silent: true, NoPath: true}, c.change, func(c *observe.Config) { c.MaxFrames = 1 << 30 })
			link, p := x.env.Links()[0], packet.SYN(web)
			n := 0
			for b.Loop() {
				if _, err := link.Write(p); err != nil {
					b.Fatal(err)
				}
				if n++; n%256 == 0 {
					x.o.Drain()
				}
			}
			b.StopTimer()
			if err := lastError(x.o.Frames(b.Context())); err != nil && !errors.Is(err, observe.ErrOff) {
				b.Error(err)
			}
		})
	}
}

func BenchmarkFrames(b *testing.B) {
	x := open(b, netnsenv.Config{Silent: true})
	x.sendSYNs(1000, web)
	for b.Loop() {
		if err := lastError(x.o.Frames(b.Context())); err != nil {
			b.Fatal(err)
		}
	}
}

// fastest is an Env in which the kernel handles packets to astray as fast as possible.
var fastest = netnsenv.Config{Conntrack: netnsenv.Off, Silent: true, NoPath: true}

// astray is a flow to another host, which a host that does not forward drops.
var astray = packet.Flow{Src: web.Src, Dst: addrPort("203.0.113.9:80")}

// flood injects n packets by the first link at full speed, and drains every few hundred, as a Lab does.
func (l lab) flood(n int, packet func(i int) packet.Packet) {
	l.Helper()
	link := l.env.Links()[0]
	for i := range n {
		if _, err := link.Write(packet(i)); err != nil {
			l.Fatal(err)
		}
		if i%256 == 255 {
			l.o.Drain()
		}
	}
}

// No packet of a flood is lost, and all are in order.
func TestCaptureKeepsUpWithAFlood(t *testing.T) {
	t.Parallel()
	const n = 100_000
	for name, capture := range captures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := capture.open(t, fastest, func(c *observe.Config) { c.MaxFrames = 2 * n })
			x.flood(n, func(i int) packet.Packet { return packet.SYN(astray.Nth(i % 50_000)) })

			seen := 0
			for f, err := range x.o.Frames(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				src := f.Tuple().Src
				if src.Addr() != web.Src.Addr() {
					continue // something of the host's own
				}
				if want := web.Src.Port() + uint16(seen%50_000); src.Port() != want {
					t.Fatalf("frame %d comes from port %d, want %d", seen, src.Port(), want)
				}
				seen++
			}
			if seen != n {
				t.Errorf("%d of %d frames", seen, n)
			}
		})
	}
}

// The cost of capturing a flood. The variants take short turns, so that other load on the machine affects all of
// them. The result is the median; no frame may be lost.
func BenchmarkCaptureOfAFlood(b *testing.B) {
	const turn = 20_000
	ways := []struct {
		name   string
		change func(*observe.Config)
		took   []time.Duration
		lab    lab
	}{
		{name: "none", change: func(c *observe.Config) { c.NoFrames = true }},
		{name: "socket", change: func(*observe.Config) {}},
		{name: "ring", change: func(c *observe.Config) { c.Ring = 8 << 20 }},
	}
	for i := range ways {
		ways[i].lab = open(b, fastest, ways[i].change, func(c *observe.Config) { c.MaxFrames = 1 << 30 })
	}
	observe.StayWithSocket(ways[1].lab.o)
	p := packet.SYN(astray)
	sent := 0
	for b.Loop() {
		for i := range ways {
			began := time.Now()
			ways[i].lab.flood(turn, func(int) packet.Packet { return p })
			ways[i].took = append(ways[i].took, time.Since(began))
		}
		sent += turn
	}
	for _, w := range ways {
		slices.Sort(w.took)
		b.ReportMetric(float64(w.took[len(w.took)/2].Nanoseconds())/turn, w.name+"-ns/packet")
		if w.name == "none" {
			continue
		}
		if n := len(collect(b, w.lab.o.Frames(b.Context()))); n < sent {
			b.Errorf("%s: %d of %d frames", w.name, n, sent)
		}
	}
}

// A router reassembles fragments, changes the source and fragments the packet again. What was captured at arrival is what
// was sent, in whatever order the fragments came.
func TestFragmentsAreCapturedAsTheyCame(t *testing.T) {
	t.Parallel()
	flows := map[nf.Family]packet.Flow{
		nf.IPv4: web,
		nf.IPv6: {Src: netip.MustParseAddrPort("[2001:db8:1::2]:1000"), Dst: netip.MustParseAddrPort("[2001:db8:2::9]:53")},
	}
	for _, kind := range []netnsenv.LinkKind{netnsenv.Tun, netnsenv.Veth} {
		for family, flow := range flows {
			for _, noPath := range []bool{false, true} {
				for name, capture := range captures {
					t.Run(fmt.Sprintf("%v/%v/%s/NoPath=%t", kind, family, name, noPath), func(t *testing.T) {
						t.Parallel()
						x := capture.open(t, netnsenv.Config{
							Links: []netnsenv.LinkConfig{
								{Name: "in0", Kind: kind, Prefixes: prefixes("198.18.0.1/24", "2001:db8:1::1/64")},
								{Name: "out0", Kind: kind, Prefixes: prefixes("192.0.2.254/24", "2001:db8:2::1/64")},
							},
							Sysctls: map[string]string{"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"},
							Rules:   []netnsenv.Ruleset{netnsenv.NFT("table inet t { chain c { type nat hook postrouting priority srcnat; masquerade; }; }")},
							NoPath:  noPath,
						})
						var sent []packet.Packet
						for id := range uint32(2) {
							cut := flow.UDP(make([]byte, 2400)).Fragments(1000)
							for _, p := range cut {
								sent = append(sent, p.With(packet.ID(7+id)))
							}
						}
						slices.Reverse(sent[len(sent)/2:])

						x.sendBy("in0", sent...)

						var came []packet.Packet
						left := 0
						for _, f := range x.captured() {
							if f.Dir == packet.In && f.Link == "in0" {
								came = append(came, f.Packet)
							}
							if f.Dir == packet.Out && f.Link == "out0" {
								left++
							}
						}
						if diff := cmp.Diff(sent, came); diff != "" || left != len(sent) {
							t.Errorf("%d fragments left, want %d; those that came (-want +got):\n%s", left, len(sent), diff)
						}
					})
				}
			}
		}
	}
}

// uncopied is an Env whose kernel lets no rule write packets.
type uncopied struct{ *netnsenv.Env }

func (uncopied) CopiesFragments() bool { return false }

// Where fragments cannot be copied, a ring captures, unless the user wants one of another size.
func TestRingCapturesWhereFragmentsAreNotCopied(t *testing.T) {
	t.Parallel()
	env, err := netnsenv.Open(t.Context(), netnsenv.Config{})
	needs.Check(t, err)
	t.Cleanup(func() { needs.Check(t, env.Close()) })
	for name, c := range map[string]struct {
		ns   observe.Namespace
		ring int
		want bool
	}{
		"copied": {env, 0, !env.CopiesFragments()}, "not copied": {uncopied{env}, 0, true}, "a ring": {env, 1 << 20, true}, "not copied, a ring": {uncopied{env}, 1 << 20, true},
	} {
		o, err := observe.Open(t.Context(), c.ns, observe.Config{Ring: c.ring})
		needs.Check(t, err)
		if got := observe.HasRing(o); got != c.want {
			t.Errorf("%s: a ring: %v, want %v", name, got, c.want)
		}
		needs.Check(t, o.Close())
	}
}
