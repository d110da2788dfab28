package inject_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/packettest"
	"github.com/ctexp/go-ctexp/internal/pcap"
)

// linkLog is what happens to several links, in its order.
type linkLog struct{ lines []string }

// logged is one of several links.
type logged struct {
	link
	name string
	log  *linkLog
}

func (l *logged) Name() string { return l.name }

func (l *logged) Write(b []byte) (int, error) {
	l.log.lines = append(l.log.lines, fmt.Sprintf("%s %v", l.name, packet.Packet(b)))
	return l.link.Write(b)
}

func (l *logged) Fence(ctx context.Context) error {
	l.log.lines = append(l.log.lines, l.name+" fence")
	return l.link.Fence(ctx)
}

func twoLinks() (*linkLog, *logged, *logged) {
	w := &linkLog{}
	return w, &logged{name: "tun0", log: w}, &logged{name: "tun1", log: w}
}

func readFile(file []byte) iter.Seq2[packet.Record, error] {
	return packet.ReadRecording(bytes.NewReader(file))
}

// A router has recorded a packet that came in at one link and left by the other, and its own answer.
func TestAReplaySendsWhatCameInByItsLink(t *testing.T) {
	t.Parallel()
	syn, answer := packet.SYN(web), packet.SYNACK(web.Reverse())
	file := packettest.Recording([]string{"tun0", "tun1", "eth7"},
		pcap.Packet{Data: syn}, pcap.Packet{Link: "tun1", Dir: pcap.Out, Data: syn},
		pcap.Packet{Link: "tun1", Data: answer}, pcap.Packet{Data: answer, Dir: pcap.Out},
		pcap.Packet{Link: "eth7", Data: packet.ACK(web)}, pcap.Packet{Data: []byte{1}})
	log, tun0, tun1 := twoLinks()

	got, err := inject.Replay{}.Send(t.Context(), readFile(file), tun0, tun1)

	want := inject.Replayed{Read: 6, Sent: 3, ByLink: map[string]int{"tun0": 2, "tun1": 1}, LeftOut: 2, NotIP: 1}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	order := []string{
		"tun0 " + syn.String(), "tun0 fence", "tun1 " + answer.String(), "tun1 fence", "tun0 " + packet.ACK(web).String(), "tun0 fence",
	}
	if diff := cmp.Diff(order, log.lines); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if got, want := got.String(), "6 packets read: 3 sent (tun0 2, tun1 1), 2 left out, 1 not IP"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// One rule of the table for each of the ways to tell directions apart.
func TestWaysSplitARecording(t *testing.T) {
	t.Parallel()
	frames := packettest.Ethernet(1500,
		packet.SYN(web).Frame(packettest.ClientMAC, packettest.ServerMAC), packet.SYNACK(web.Reverse()).Frame(packettest.ServerMAC, packettest.ClientMAC),
		packet.ACK(web).Frame(packettest.ClientMAC, packettest.ServerMAC).VLAN(7))
	flagged := packettest.Recording([]string{"eth0", "eth1"},
		pcap.Packet{Data: packet.SYN(web)}, pcap.Packet{Dir: pcap.Out, Data: packet.SYNACK(web.Reverse())},
		pcap.Packet{Link: "eth1", Data: packet.ACK(web)})
	for name, c := range map[string]struct {
		file []byte
		ways inject.Ways
		want string
	}{
		"MAC":         {frames, inject.Ways{{Match: packet.Match{SrcMAC: packettest.ClientMAC}, To: "tun0"}, {To: "tun1"}}, "010"},
		"VLAN":        {frames, inject.Ways{{Match: packet.Match{VLAN: 7}, To: "tun1"}, {To: "tun0"}}, "001"},
		"source":      {frames, inject.Ways{{Match: packet.Match{SrcNet: prefix("198.18.0.0/24")}, To: "tun1"}, {To: "tun0"}}, "101"},
		"destination": {flagged, inject.Ways{{Match: packet.Match{DstNet: prefix("198.18.0.0/24")}, To: "tun1"}, {To: "tun0"}}, "010"},
		"direction":   {flagged, inject.Ways{{Dir: packet.Out, To: "tun1"}, {Dir: packet.In, To: "tun0"}}, "010"},
		"link":        {flagged, inject.Ways{{From: "eth1", To: "tun1"}, {To: "tun0"}}, "001"},
		"left out":    {flagged, inject.Ways{{From: "eth1", To: "tun1"}, {Dir: packet.Out}}, "1"},
		"none":        {flagged, nil, ""},
	} {
		log, tun0, tun1 := twoLinks()
		if _, err := (inject.Replay{By: c.ways.Link, Untag: true}).Send(t.Context(), readFile(c.file), tun0, tun1); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got := ""
		for _, line := range log.lines {
			if !strings.HasSuffix(line, "fence") {
				got += line[3:4]
			}
		}
		if got != c.want {
			t.Errorf("%s: by the links %q, want %q", name, got, c.want)
		}
	}
}

// A tag is sent where the host can see it, and what has one is left out elsewhere.
func TestAReplaySendsTags(t *testing.T) {
	t.Parallel()
	tagged := packet.SYN(web).Frame(packettest.ClientMAC, packettest.ServerMAC).VLAN(9).VLAN(7)
	file := packettest.Ethernet(1500, tagged, packet.ACK(web).Frame(packettest.ClientMAC, packettest.ServerMAC))
	log, tun0, _ := twoLinks()
	eth0 := &ether{}

	onTun, err := inject.Replay{}.Send(t.Context(), readFile(file), tun0)
	ways := inject.Ways{{Match: packet.Match{VLAN: 7}, To: "fake0"}, {To: "tun0"}}
	onVeth, err2 := inject.Replay{By: ways.Link}.Send(t.Context(), readFile(file), eth0, tun0)

	got := fmt.Sprintln(onTun, err) + fmt.Sprintln(onVeth, err2) + fmt.Sprintln(eth0.frames, log.lines)
	ack := packet.ACK(web).String()
	want := "2 packets read: 1 sent (tun0 1), 1 tagged, by links without Ethernet <nil>\n" +
		"2 packets read: 2 sent (fake0 1, tun0 1) <nil>\n" +
		fmt.Sprintln([]packet.Frame{tagged}, []string{"tun0 " + ack, "tun0 fence", "tun0 " + ack, "tun0 fence"})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The rule sees a packet as it will be sent, and the recording is left as it is.
func TestAReplayRemapsBeforeItSplits(t *testing.T) {
	t.Parallel()
	log, tun0, tun1 := twoLinks()
	syn := packet.Record{Number: 1, EtherType: 0x0800, Packet: packet.SYN(web), Length: 40}
	r := inject.Replay{
		Remap: packet.Remap{Addrs: map[netip.Prefix]netip.Prefix{prefix("198.18.0.0/24"): prefix("10.0.0.0/24")}},
		By:    inject.Ways{{Match: packet.Match{SrcNet: prefix("10.0.0.0/8")}, To: "tun1"}}.Link,
	}
	_, err := r.Send(t.Context(), func(yield func(packet.Record, error) bool) { yield(syn, nil) }, tun0, tun1)
	want := []string{"tun1 " + packet.SYN(web).With(packet.Src(netip.MustParseAddr("10.0.0.2"))).String(), "tun1 fence"}
	if diff := cmp.Diff(want, log.lines); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if diff := packet.Diff(packet.SYN(web), syn.Packet); diff != "" {
		t.Errorf("the recording has become\n%s", diff)
	}
}

func TestAReplayEndsAtTheFirstFault(t *testing.T) {
	t.Parallel()
	large := pcap.Packet{Data: web.UDP(make([]byte, 1473))}
	good := pcap.Packet{Data: packet.SYN(web)}
	file := packettest.Recording([]string{"tun0"}, good, good, large, good)
	whole := packettest.Recording([]string{"tun0"}, good, good)
	cut := packettest.Ethernet(60, packet.SYN(web).Frame(packettest.ClientMAC, packettest.ServerMAC), web.UDP(make([]byte, 100)).Frame(packettest.ClientMAC, packettest.ServerMAC))
	refused := errors.New("no")
	for name, c := range map[string]struct {
		file   []byte
		replay inject.Replay
		fence  error
		sent   int
		is     error
		want   string
	}{
		"too large": {file, inject.Replay{}, nil, 2, syscall.EMSGSIZE, "replay: packet 3: to tun0: 1501 bytes into an MTU of 1500: message too long"},
		"truncated": {whole[:len(whole)-1], inject.Replay{}, nil, 1, nil, "replay: recording: packet 2: the file is truncated: unexpected EOF"},
		"no such link": {
			whole, inject.Replay{By: func(packet.Record) string { return "tun9" }}, nil, 0, nil,
			`replay: packet 1: there is no link "tun9"; there are tun0`,
		},
		"cut": {
			cut, inject.Replay{}, nil, 1, nil,
			"replay: packet 2: 46 of its 128 bytes were recorded (the snap length was too small); SkipCut leaves such packets out",
		},
		"lost":     {whole, inject.Replay{}, refused, 2, refused, "replay: no"},
		"pace":     {whole, inject.Replay{Pace: -1}, nil, 0, nil, "replay: pace -1: want 0, or how many times faster"},
		"remap":    {whole, inject.Replay{Remap: packet.Remap{Addrs: map[netip.Prefix]netip.Prefix{{}: {}}}}, nil, 0, nil, "replay: remap"},
		"fine":     {whole, inject.Replay{}, nil, 2, nil, "<nil>"},
		"cut away": {cut, inject.Replay{SkipCut: true}, nil, 1, nil, "<nil>"},
	} {
		_, tun0, _ := twoLinks()
		tun0.fence = func(context.Context) error { return c.fence }
		got, err := c.replay.Send(t.Context(), readFile(c.file), tun0)
		if got.Sent != c.sent || len(tun0.written) != c.sent || !strings.HasPrefix(fmt.Sprint(err), c.want) || !errors.Is(err, c.is) && c.is != nil {
			t.Errorf("%s: %v, %d written, %v; want %d, %q", name, got, len(tun0.written), err, c.sent, c.want)
		}
		if n := len(tun0.fences); c.sent > 0 && (n == 0 || tun0.fences[n-1] != c.sent) {
			t.Errorf("%s: fences %v", name, tun0.fences)
		}
	}
	if _, err := (inject.Replay{}).Send(t.Context(), readFile(whole)); err == nil || err.Error() != "replay: there is no link" {
		t.Errorf("without a link: %v", err)
	}
}

// A host's recording of itself has the checksums that its network card was to fill in.
func TestChecksumsAreMadeRight(t *testing.T) {
	t.Parallel()
	for _, f := range []packet.Flow{web, web6} {
		var all []pcap.Packet
		var want []packet.Packet
		for _, k := range packettest.Kinds(f) {
			bad := k.Packet
			if p := bad.Tuple().Proto; (p.HasPorts() || p.IsICMP()) && k.Name != "udp without checksum" {
				bad = bad.With(packet.Checksum(0xbad))
			}
			if f == web {
				bad = bad.With(packet.HeaderChecksum(0xbad))
			}
			want = append(want, k.Packet)
			all = append(all, pcap.Packet{Data: bad})
		}
		l := &link{}
		if _, err := (inject.Replay{FixChecksums: true}).Send(t.Context(), readFile(packettest.Recording([]string{"fake0"}, all...)), l); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, l.written); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// Three packets, 20 ms apart, the last of which claims to be older than the first.
func TestAReplayKeepsTheRecordedPace(t *testing.T) {
	t.Parallel()
	for pace, want := range map[float64][3]time.Duration{
		0: {}, 1: {0, 20 * time.Millisecond, 20 * time.Millisecond}, 4: {0, 5 * time.Millisecond, 5 * time.Millisecond},
		0.5: {0, 40 * time.Millisecond, 40 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			var got [3]time.Duration
			l := &link{write: func(n int, b []byte) (int, error) {
				got[n] = time.Since(start)
				return len(b), nil
			}}
			seq := func(yield func(packet.Record, error) bool) {
				for i, at := range []time.Duration{0, 20 * time.Millisecond, -time.Hour} {
					if !yield(packet.Record{Number: i + 1, Time: packettest.Began.Add(at), EtherType: 0x0800, Packet: packet.SYN(web), Length: 40}, nil) {
						return
					}
				}
			}
			if _, err := (inject.Replay{Pace: pace}).Send(t.Context(), seq, l); err != nil || got != want {
				t.Errorf("pace %v: sent after %v, want %v; %v", pace, got, want, err)
			}
		})
	}
}

func TestAReplayEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		l := &link{fence: func(ctx context.Context) error { return ctx.Err() }}
		seq := func(yield func(packet.Record, error) bool) {
			for i := range 100 {
				r := packet.Record{Number: i + 1, Time: packettest.Began.Add(time.Duration(i) * time.Hour), EtherType: 0x0800, Packet: packet.SYN(web), Length: 40}
				if !yield(r, nil) {
					return
				}
			}
		}
		got, err := inject.Replay{Pace: 1}.Send(ctx, seq, l)
		want := "replay: packet 2: while it was waited for: context deadline exceeded"
		if got.Sent != 1 || fmt.Sprint(err) != want || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, %v; want 1 sent, %q", got, err, want)
		}
	})
}

// A recording that is larger than memory is replayed: what is in use does not grow while half a gigabyte goes through. Not in
// parallel: it looks at all that is in use.
func TestAReplayHoldsOnePacketAtATime(t *testing.T) {
	big := pcap.Packet{Data: web.UDP(make([]byte, 65_507))}
	one, two := packettest.Recording([]string{"tun0"}, big), packettest.Recording([]string{"tun0"}, big, big)
	const packets = 1 << 13 // half a gigabyte
	var used, most uint64
	n := 0
	watch := func(seq iter.Seq2[packet.Record, error]) iter.Seq2[packet.Record, error] {
		return func(yield func(packet.Record, error) bool) {
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

	got, err := inject.Replay{}.Send(t.Context(), watch(packet.ReadRecording(&packettest.Repeated{Head: one, Packets: two[len(one):], Times: packets - 1})), to)

	if got.Sent != packets || err != nil || most > used+(4<<20) {
		t.Errorf("%v, %v; %d bytes in use after the first eighth, then up to %d", got, err, used, most)
	}
}

// wide is a sink for packets of any length.
type wide struct{ sink }

func (*wide) MTU() int { return 65535 }

// The two directions of a recording are sent on the two links of a router.
func ExampleReplay() {
	log, tun0, tun1 := twoLinks()
	replay := inject.Replay{By: inject.Ways{
		{Match: packet.Match{SrcNet: netip.MustParsePrefix("198.18.0.0/24")}, To: "tun0"},
		{To: "tun1"},
	}.Link}
	done, err := replay.Send(context.Background(), packet.Records(
		packet.Record{EtherType: packet.EtherTypeIPv4, Packet: packet.SYN(web)},
		packet.Record{EtherType: packet.EtherTypeIPv4, Packet: packet.SYNACK(web.Reverse())},
	), tun0, tun1)
	fmt.Println(done.Sent, err)
	fmt.Println(strings.Join(log.lines, "\n"))
	// Output:
	// 2 <nil>
	// tun0 IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
	// tun0 fence
	// tun1 IP 192.0.2.1.80 > 198.18.0.2.10000: Flags [S.], seq 1, ack 2, win 65535, length 0
	// tun1 fence
}
