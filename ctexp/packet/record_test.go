package packet_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
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
		fmt.Println(r, err)
	}
	// Output:
	// 1 tun0 In IP 198.18.0.2 > 192.0.2.1: ICMP echo request, id 1, seq 1, length 8 <nil>
	// 2 tun0 Out IP 192.0.2.1 > 198.18.0.2: ICMP echo reply, id 1, seq 1, length 8 <nil>
}

// began is when the first packet of a test's recording was seen.
var began = time.Unix(1_700_000_000, 0).UTC()

// recording returns a pcapng file of packets, one in a millisecond.
func recording(t testing.TB, links []string, packets ...pcap.Record) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := pcap.NewWriter(&b, pcap.File{Links: links})
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range packets {
		p.Time = began.Add(time.Duration(i) * time.Millisecond)
		if err := w.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// ethernet returns a pcap file of frames, which it cuts at snap bytes.
func ethernet(t testing.TB, snap int, frames ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	if err := w.WriteFileHeader(uint32(snap), layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	for _, f := range frames {
		n := min(snap, len(f))
		err := w.WritePacket(gopacket.CaptureInfo{Timestamp: began, CaptureLength: n, Length: len(f)}, f[:n])
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

var (
	clientMAC = nf.MAC{2, 0, 0, 0, 0, 1}
	serverMAC = nf.MAC{2, 0, 0, 0, 0, 2}
)

// collect goes through a recording and returns what is before the error.
func collect(seq iter.Seq2[packet.Recorded, error]) (all []packet.Recorded, err error) {
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
	file := recording(t, []string{"tun0", "tun1"}, pcap.Record{Data: syn}, pcap.Record{Link: 1, Out: true, Data: answer})

	got, err := collect(packet.ReadRecording(bytes.NewReader(file)))

	want := []packet.Recorded{
		{Number: 1, Time: began, Link: "tun0", Dir: packet.RecordedIn, EtherType: 0x0800, Packet: syn, Length: 40},
		{
			Number: 2, Time: began.Add(time.Millisecond), Link: "tun1", Dir: packet.RecordedOut, EtherType: 0x86dd,
			Packet: answer, Length: 60,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestRecordedFramesHaveAddressesAndLine(t *testing.T) {
	t.Parallel()
	tagged := append(packet.SYN(web).Frame(clientMAC, serverMAC).VLAN(7), make([]byte, 6)...)
	arp := slices.Concat(serverMAC[:], clientMAC[:], []byte{8, 6, 'a', 'r', 'p'})
	got, err := collect(packet.ReadRecording(bytes.NewReader(ethernet(t, 1500, tagged, arp))))
	want := []packet.Recorded{
		{
			Number: 1, Time: began, Src: clientMAC, Dst: serverMAC, VLAN: 7, Tags: []byte{0x81, 0, 0, 7}, EtherType: 0x0800,
			Packet: packet.SYN(web), Length: 40,
		},
		{Number: 2, Time: began, Src: clientMAC, Dst: serverMAC, EtherType: 0x0806, Packet: packet.Packet("arp"), Length: 3},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Fatalf("%v (-want +got):\n%s", err, diff)
	}
	lines := fmt.Sprintf("%v\n%v", got[0], got[1])
	if want := fmt.Sprintf("1 vlan 7, %v\n2 ethertype 0x0806, length 3", packet.SYN(web)); lines != want {
		t.Errorf("lines %q, want %q", lines, want)
	}
}

func TestARecordingIsReadUpToItsFault(t *testing.T) {
	t.Parallel()
	file := recording(t, []string{"tun0"}, pcap.Record{Data: packet.SYN(web)}, pcap.Record{Data: packet.ACK(web)})
	for name, c := range map[string]struct {
		file []byte
		n    int
		want string
	}{
		"truncated": {file[:len(file)-1], 1, "recording: packet 2: the file is truncated"},
		"garbage":   {append(file[:len(file):len(file)], make([]byte, 12)...), 2, "recording: packet 3: block of type 0x0: length 0"},
		"text":      {[]byte("hello, world"), 0, "recording: it is neither pcap nor pcapng"},
		"empty":     {nil, 0, "recording: the file is truncated"},
	} {
		got, err := collect(packet.ReadRecording(bytes.NewReader(c.file)))
		if len(got) != c.n || err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %d packets, %v; want %d, %q", name, len(got), err, c.n, c.want)
		}
	}
}

func TestARecordingIsGoneThroughOnce(t *testing.T) {
	t.Parallel()
	seq := readFile(recording(t, []string{"tun0"}, pcap.Record{Data: packet.SYN(web)}))
	_, _ = collect(seq)
	got, err := collect(seq)
	if want := "recording: it was gone through already, which can be done once"; len(got) != 0 || err == nil || err.Error() != want {
		t.Errorf("%v, %v; want %q", got, err, want)
	}
}

func TestAFailingReaderIsAnError(t *testing.T) {
	t.Parallel()
	why := errors.New("disk on fire")
	file := recording(t, []string{"tun0"}, pcap.Record{Data: packet.SYN(web)})
	got, err := collect(packet.ReadRecording(io.MultiReader(bytes.NewReader(file), failing{why})))
	if len(got) != 1 || !errors.Is(err, why) {
		t.Errorf("%d packets, %v", len(got), err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// again is a file that has its last packet so many times more.
type again struct {
	head, packet, rest []byte
	times              int
}

func (a *again) Read(p []byte) (int, error) {
	if a.head != nil {
		a.rest, a.head = a.head, nil
	}
	if len(a.rest) == 0 {
		if a.times--; a.times < 0 {
			return 0, io.EOF
		}
		a.rest = a.packet
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// A recording that is larger than memory is replayed: what is in use does not grow while half a gigabyte goes through. Not in
// parallel: it looks at all that is in use.
func TestAReplayHoldsOnePacketAtATime(t *testing.T) {
	big := pcap.Record{Data: web.UDP(make([]byte, 65_507))}
	one, two := recording(t, []string{"tun0"}, big), recording(t, []string{"tun0"}, big, big)
	const packets = 1 << 13 // half a gigabyte
	var used, most uint64
	n := 0
	watch := func(seq iter.Seq2[packet.Recorded, error]) iter.Seq2[packet.Recorded, error] {
		return func(yield func(packet.Recorded, error) bool) {
			for r, err := range seq {
				if n++; n%(packets/8) == 0 {
					var m runtime.MemStats
					runtime.GC()
					if runtime.ReadMemStats(&m); used == 0 {
						used = m.HeapAlloc
					}
					most = max(most, m.HeapAlloc)
				}
				if !yield(r, err) {
					return
				}
			}
		}
	}
	to := &wide{}

	got, err := inject.Replay{}.Send(t.Context(), watch(packet.ReadRecording(&again{head: one, packet: two[len(one):], times: packets - 1})), to)

	if got.Sent != packets || err != nil || most > used+(4<<20) {
		t.Errorf("%v, %v; %d bytes in use after the first eighth, then up to %d", got, err, used, most)
	}
}

// wide is a sink for packets of any length.
type wide struct{ sink }

func (*wide) MTU() int { return 65535 }

// Whatever a recording has in it, to read and to remap it ends, and no packet grows by that.
func FuzzReadRecording(f *testing.F) {
	f.Add(recording(f, []string{"tun0", "tun1"}, pcap.Record{Data: packet.SYN(web)}, pcap.Record{Link: 1, Out: true, Data: web6.UDP(nil)}))
	f.Add(ethernet(f, 60, packet.SYN(web).Frame(clientMAC, serverMAC), packet.SYN(web6).Frame(clientMAC, serverMAC).VLAN(1)))
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
	p := pcap.Record{Data: packet.SYN(web)}
	one, two := recording(b, []string{"tun0"}, p), recording(b, []string{"tun0"}, p, p)
	b.SetBytes(int64(binary.Size(packet.SYN(web))))
	b.ReportAllocs()
	n := 0
	for _, err := range packet.ReadRecording(&again{head: one, packet: two[len(one):], times: b.N}) {
		if err != nil {
			b.Fatal(err)
		}
		if n++; n == b.N {
			break
		}
	}
}
