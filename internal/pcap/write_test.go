package pcap_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/ctexp/go-ctexp/internal/pcap"
	"github.com/ctexp/go-ctexp/internal/plain"
)

// ip is a minimal IPv4 packet.
var ip = []byte{0x45, 0, 0, 21, 0, 0, 0x40, 0, 64, 253, 0, 0, 198, 18, 0, 2, 192, 0, 2, 1, 'x'}

// got is the contents of a file.
type got struct {
	Links   []string
	Type    layers.LinkType
	Packets []pcap.Packet // without EtherType
}

// write makes a file and reads it with another program's eyes.
func write(t testing.TB, f pcap.File, packets ...pcap.Packet) got {
	t.Helper()
	var b bytes.Buffer
	w, err := pcap.NewWriter(&b, f)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packets {
		if p.Link == "" && len(f.Links) > 0 {
			p.Link = f.Links[0]
		}
		if err := w.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	r, err := pcapgo.NewNgReader(&b, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	g := got{Type: r.LinkType()}
	for {
		data, ci, options, err := r.ReadPacketDataWithOptions()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		p := pcap.Packet{
			Time: ci.Timestamp, Link: f.Links[ci.InterfaceIndex], Data: data, Comment: strings.Join(options.Comments, "|"),
		}
		if ci.Length > len(data) {
			p.Length = ci.Length
		}
		if options.Flags != nil {
			p.Dir = pcap.Dir(options.Flags.Direction) // 1 inbound, 2 outbound
		}
		g.Packets = append(g.Packets, p)
	}
	for i := range r.NInterfaces() {
		link, err := r.Interface(i)
		if err != nil {
			t.Fatal(err)
		}
		g.Links = append(g.Links, link.Name)
	}
	return g
}

func TestPacketsAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_700_000_000, 123_456_789).UTC()
	packets := []pcap.Packet{
		{Time: at, Link: "tun1", Dir: pcap.In, Data: ip, Comment: "accepted\nESTABLISHED"},
		{Time: at.Add(1), Link: "tun0", Dir: pcap.Out, Data: ip},
		{Time: at.Add(2), Link: "tun0", Data: ip, Length: 40},
		{Time: time.Unix(0, 0).UTC(), Link: "tun0", Data: nil, Comment: strings.Repeat("ü", 1000)},
	}
	want := got{Links: []string{"tun0", "tun1"}, Type: layers.LinkTypeRaw, Packets: packets}
	if diff := cmp.Diff(want, write(t, pcap.File{Links: want.Links}, packets...), cmp.Comparer(bytes.Equal)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCookedPacketsHaveTheirEtherType(t *testing.T) {
	t.Parallel()
	file := write(t, pcap.File{Links: []string{"veth0"}, Layer: pcap.Cooked},
		pcap.Packet{EtherType: 0x0806, Data: []byte("arp")},
		pcap.Packet{EtherType: 0x0800, Data: ip, Dir: pcap.Out},
		pcap.Packet{Ethernet: []byte{1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 0x81, 0, 0, 7, 0x08, 0}, Data: ip})
	want := [][]byte{
		append([]byte{0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x08, 0x06}, "arp"...),
		append([]byte{0, 4, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x08, 0x00}, ip...),
		append([]byte{0, 0, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0, 0x81, 0, 0, 7, 0x08, 0x00}, ip...),
	}
	if diff := cmp.Diff(want, [][]byte{file.Packets[0].Data, file.Packets[1].Data, file.Packets[2].Data}); diff != "" || file.Type != layers.LinkTypeLinuxSLL {
		t.Errorf("link type %v (-want +got):\n%s", file.Type, diff)
	}
}

func TestFileWithoutPacketsCanBeRead(t *testing.T) {
	t.Parallel()
	want := got{Links: []string{""}, Type: layers.LinkTypeRaw}
	if diff := cmp.Diff(want, write(t, pcap.File{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTimeBeforeTheEpochIsTheEpoch(t *testing.T) {
	t.Parallel()
	at := write(t, pcap.File{Links: []string{"tun0"}}, pcap.Packet{}).Packets[0].Time
	if !at.Equal(time.Unix(0, 0)) {
		t.Errorf("got %v", at)
	}
}

func TestLongCommentIsTruncated(t *testing.T) {
	t.Parallel()
	comment := write(t, pcap.File{Links: []string{"tun0"}}, pcap.Packet{Comment: strings.Repeat("ä", 40_000)}).Packets[0].Comment
	if len(comment) > 65535 || len(comment) < 65530 || !utf8.ValidString(comment) || !strings.HasSuffix(comment, "ä…") {
		t.Errorf("%d bytes, ends in %q", len(comment), comment[max(0, len(comment)-10):])
	}
}

func TestPacketOfNoLinkPanics(t *testing.T) {
	t.Parallel()
	w, err := pcap.NewWriter(io.Discard, pcap.File{Links: []string{"tun0"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if got := recover(); got != `pcap: a packet of link "tun1", which the file does not have` {
			t.Errorf("panic: %v", got)
		}
	}()
	_ = w.Write(pcap.Packet{Link: "tun1"})
}

// full is a writer that fails after a number of bytes.
type full int

var errFull = errors.New("disk full")

func (f *full) Write(b []byte) (int, error) {
	if len(b) > int(*f) {
		return 0, errFull
	}
	*f -= full(len(b))
	return len(b), nil
}

func TestFullDiskIsAnError(t *testing.T) {
	t.Parallel()
	room := full(10_000)
	w, err := pcap.NewWriter(&room, pcap.File{Links: []string{"tun0"}})
	for i := 0; i < 1000 && err == nil; i++ {
		err = w.Write(pcap.Packet{Link: "tun0", Data: ip})
	}
	if !errors.Is(err, errFull) || !strings.HasPrefix(err.Error(), "write pcapng: packet ") {
		t.Errorf("got %v", err)
	}
	if err := w.Flush(); !errors.Is(err, errFull) {
		t.Errorf("flush: got %v", err)
	}
}

// A file with any packet can be read.
func FuzzPacket(f *testing.F) {
	f.Add(int64(0), true, ip, "comment")
	f.Add(int64(-1), false, []byte{}, "\x00\xff\n")
	f.Fuzz(func(t *testing.T, at int64, cooked bool, data []byte, comment string) {
		if len(data) > 60_000 { // what no packet has
			return
		}
		p := pcap.Packet{Time: time.Unix(0, at), Data: data, Comment: comment}
		last := pcap.Packet{Time: time.Unix(1, 2).UTC(), Data: ip, Comment: "last"}
		layer := pcap.Raw
		if cooked {
			layer = pcap.Cooked
		}
		file := write(t, pcap.File{Links: []string{comment}, Layer: layer}, p, last)
		if len(file.Packets) != 2 || !bytes.HasSuffix(file.Packets[0].Data, data) {
			t.Fatalf("got %+v", file)
		}
		if want := plain.Text(comment); len(want) < 65536 && file.Packets[0].Comment != want {
			t.Errorf("comment %q became %q", comment, file.Packets[0].Comment)
		}
		if !bytes.HasSuffix(file.Packets[1].Data, ip) || file.Packets[1].Comment != "last" {
			t.Errorf("the packet behind it became %+v", file.Packets[1])
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	w, err := pcap.NewWriter(io.Discard, pcap.File{Links: []string{"tun0"}})
	if err != nil {
		b.Fatal(err)
	}
	p := pcap.Packet{Time: time.Unix(1, 2), Link: "tun0", Data: ip, Comment: "accepted, ESTABLISHED"}
	b.ReportAllocs()
	for b.Loop() {
		if err := w.Write(p); err != nil {
			b.Fatal(err)
		}
	}
}
