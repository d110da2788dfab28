package inject_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func ExampleFlood_Packets() {
	f := inject.Flood{
		Template: packet.SYN(web),
		Vary:     []inject.Vary{{Field: inject.VarySrcPort, Count: 2}, {Field: inject.VarySrc, Count: 50}},
		N:        4,
	}
	for p := range f.Packets() {
		fmt.Println(p)
	}
	// Output:
	// IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
	// IP 198.18.0.2.10001 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
	// IP 198.18.0.3.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
	// IP 198.18.0.3.10001 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
}

// many is a Link that takes batches, keeps copies and counts.
type many struct {
	link
	lost  uint64 // packets that do not arrive
	limit int    // packets that it takes; 0: all
}

func (m *many) WriteBatch(packets [][]byte) (int, error) {
	for i, p := range packets {
		m.mu.Lock()
		full := m.limit > 0 && len(m.written) >= m.limit
		m.mu.Unlock()
		if full {
			return i, syscall.ENOBUFS
		}
		if _, err := m.Write(p); err != nil {
			return i, err
		}
	}
	return len(packets), nil
}

func (m *many) Arrived() (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return 1000 + uint64(len(m.written)) - min(m.lost, uint64(len(m.written))), nil
}

// Whoever sends and by whatever, what is sent are the first N packets.
func TestAFloodSendsEachPacketOnce(t *testing.T) {
	t.Parallel()
	f := inject.Flood{
		Template: packet.SYN(web), N: 10_007,
		Vary: []inject.Vary{{Field: inject.VarySrcPort, Count: 5000}, {Field: inject.VaryDst, Count: 7, Stride: 3}},
	}
	want := slices.SortedFunc(f.Packets(), slices.Compare)
	for _, queues := range []int{0, 1, 2, 7} {
		plain, batches := &link{}, &many{}
		for _, l := range []inject.Link{plain, batches} {
			f.Queues = queues
			got, err := f.Send(t.Context(), l)
			if got.Sent != f.N || got.Arrived != f.N || err != nil {
				t.Errorf("%d queues by a %T: %v, %v", queues, l, got, err)
			}
		}
		for _, written := range [][]packet.Packet{plain.written, batches.written} {
			slices.SortFunc(written, slices.Compare)
			if !slices.EqualFunc(want, written, slices.Equal[packet.Packet]) {
				t.Errorf("%d queues: they are not the first %d packets", queues, f.N)
			}
		}
	}
}

func TestAFloodThatIsWrongSendsNothing(t *testing.T) {
	t.Parallel()
	syn, echo := packet.SYN(web), packet.Echo(web.Src.Addr(), web.Dst.Addr(), 1, 1, nil)
	vary := func(template packet.Packet, rules ...inject.Vary) inject.Flood {
		return inject.Flood{Template: template, Vary: rules, N: 1}
	}
	sport := inject.Vary{Field: inject.VarySrcPort, Count: 10}
	for want, f := range map[string]inject.Flood{
		"the template of 0 bytes is no packet":                       {N: 1},
		"the template of 19 bytes is no packet":                      {Template: syn[:19], N: 1},
		"the count N is -1: want the number":                         {Template: syn, N: -1},
		"the Duration is -1s":                                        {Template: syn, Duration: -time.Second},
		"neither N nor Duration":                                     {Template: syn},
		"rate -3":                                                    {Template: syn, N: 1, Rate: -3},
		"-1 queues":                                                  {Template: syn, N: 1, Queues: -1},
		"progress every -1s":                                         {Template: syn, N: 1, Every: -time.Second},
		"1501 bytes into an MTU of 1500":                             {Template: web.UDP(make([]byte, 1473)), N: 1},
		"vary[0] (source port): the template, icmp, has no ports":    vary(echo, sport),
		"vary[0] (identifier): the template is no query of ICMP":     vary(syn, inject.Vary{Field: inject.VaryID, Count: 1}),
		"vary[0] (no field): no field: want one":                     vary(syn, inject.Vary{Count: 1}),
		"vary[0] (source port): count 0":                             vary(syn, inject.Vary{Field: inject.VarySrcPort}),
		"vary[0] (source port): negative stride":                     vary(syn, inject.Vary{Field: inject.VarySrcPort, Count: 1, Stride: -1}),
		"vary[0] (source port): 55537 values, 1 apart":               vary(syn, inject.Vary{Field: inject.VarySrcPort, Count: 55537}),
		"vary[0] (source port): 2 values, 55536 apart":               vary(syn, inject.Vary{Field: inject.VarySrcPort, Count: 2, Stride: 55536}),
		"vary[0] (source address): 1000000000 values":                vary(syn, inject.Vary{Field: inject.VarySrc, Count: 1e9}),
		"vary[0] (destination address): 4 values":                    vary(packet.SYN(packet.Flow{Src: web6.Src, Dst: addrPort("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffd]:80")}), inject.Vary{Field: inject.VaryDst, Count: 4, Random: true}),
		"vary[1] (source port): another rule has it":                 vary(syn, sport, sport),
		"vary[0] (source port): it is in step":                       vary(syn, inject.Vary{Field: inject.VarySrcPort, Count: 1, InStep: true}),
		"vary[1] (source address): count 9, and 10 in the rule":      vary(syn, sport, inject.Vary{Field: inject.VarySrc, Count: 9, InStep: true}),
		"vary[1] (source address): what is drawn at random is in st": vary(syn, sport, inject.Vary{Field: inject.VarySrc, InStep: true, Random: true}),
	} {
		l := &link{}
		got, err := f.Send(t.Context(), l)
		if got != (inject.Flooded{}) || err == nil || !strings.HasPrefix(err.Error(), "flood fake0: "+want) || len(l.written)+len(l.fences) > 0 {
			t.Errorf("%v, %v; want %q and nothing written; %d packets", got, err, want, len(l.written))
		}
	}
}

func TestAFloodCountsWhatWasLostOrRefused(t *testing.T) {
	t.Parallel()
	f := inject.Flood{Template: packet.SYN(web), N: 1000}
	lost := &many{lost: 7}
	lost.fence = func(context.Context) error { return errors.New("7 were lost") }
	got, err := f.Send(t.Context(), lost)
	if got.Sent != 1000 || got.Arrived != 993 || fmt.Sprint(err) != "flood fake0: 7 were lost" {
		t.Errorf("lost: %v, %v", got, err)
	}
	got, err = f.Send(t.Context(), &many{limit: 500})
	want := "flood fake0: after 500 packets: packet 501: no buffer space available"
	if got.Sent != 500 || got.Arrived != 500 || fmt.Sprint(err) != want || !errors.Is(err, syscall.ENOBUFS) {
		t.Errorf("refused: %v, %v; want %q", got, err, want)
	}
}

func TestAFloodKeepsItsRate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		flood inject.Flood
		sent  int
		took  time.Duration // about
	}{
		{inject.Flood{N: 11, Rate: 10}, 11, time.Second},
		{inject.Flood{Duration: time.Second, Rate: 10}, 10, time.Second},
		{inject.Flood{N: 3, Duration: time.Second, Rate: 10}, 3, 200 * time.Millisecond},
		{inject.Flood{N: 100_001, Rate: 100_000, Queues: 3}, 100_001, time.Second},
		{inject.Flood{Duration: time.Minute, Rate: 0.1}, 6, time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			c.flood.Template = packet.SYN(web)
			got, err := c.flood.Send(t.Context(), &link{})
			if d := got.Took - c.took; got.Sent != c.sent || err != nil || d < -time.Microsecond || d > time.Millisecond {
				t.Errorf("%+v: %v after %v, %v; want %d after %v", c.flood, got, got.Took, err, c.sent, c.took)
			}
		})
	}
}

// Nobody waits in a busy loop, and what was sent is told every so often and in the end.
func TestAFloodTellsItsProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got []string
		f := inject.Flood{Template: packet.SYN(web), N: 25, Rate: 10, Progress: func(p inject.FloodProgress) { got = append(got, p.String()) }}
		if _, err := f.Send(t.Context(), &link{}); err != nil {
			t.Fatal(err)
		}
		want := []string{"10 of 25 packets in 1s", "20 of 25 packets in 2s", "25 of 25 packets in 2.4s"}
		for i := range min(2, len(got)) { // at the very second, the next may be sent already
			got[i] = strings.Replace(strings.Replace(got[i], "11 of", "10 of", 1), "21 of", "20 of", 1)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestAFloodEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		l := &link{fence: func(ctx context.Context) error { return ctx.Err() }}
		got, err := inject.Flood{Template: packet.SYN(web), N: 100, Rate: 10, Queues: 2}.Send(ctx, l)
		if got.Sent < 10 || got.Sent > 11 || got.Sent != len(l.written) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, %d written, %v", got, len(l.written), err)
		}
		if got, err = (inject.Flood{Template: packet.SYN(web), N: 1}).Send(ctx, l); got.Sent != 0 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after it: %v, %v", got, err)
		}
	})
}

// Sending a hundred thousand packets takes no more memory than sending a hundred.
func TestAFloodTakesNoMemoryForAPacket(t *testing.T) {
	var template packet.Packet
	allocations := func(n int) float64 {
		f := inject.Flood{Template: template, N: n, Vary: []inject.Vary{
			{Field: inject.VarySrc, Count: 100}, {Field: inject.VarySrcPort, Count: 100, Random: true},
		}}
		return testing.AllocsPerRun(3, func() {
			if _, err := f.Send(t.Context(), &batchSink{}); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, f := range []packet.Flow{web, web6} {
		for _, template = range []packet.Packet{packet.SYN(f), f.UDP(nil), f.SCTP(0, packet.SCTPInit(1, 100))} {
			if few, more := allocations(100), allocations(100_000); more > few+5 {
				t.Errorf("%v: %v allocations for 100 packets, %v for 100,000", template, few, more)
			}
		}
	}
}

// batchSink takes everything in batches.
type batchSink struct{ sink }

func (*batchSink) WriteBatch(packets [][]byte) (int, error) { return len(packets), nil }

func TestFloodsMayBeSentAtOnce(t *testing.T) {
	t.Parallel()
	rules := []inject.Vary{{Field: inject.VarySrc, Count: 5}, {Field: inject.VarySrcPort, InStep: true}}
	f := inject.Flood{Template: packet.SYN(web), N: 1000, Queues: 2, Vary: rules}
	l := &many{}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if got, err := f.Send(t.Context(), l); got.Sent != 1000 || err != nil {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	wg.Wait()
	if len(l.written) != 4000 || rules[1].Count != 0 {
		t.Errorf("%d packets, rules %v", len(l.written), rules)
	}
}

// BenchmarkFlood measures making and sending per packet, without a kernel.
func BenchmarkFlood(b *testing.B) {
	for name, template := range map[string]packet.Packet{
		"tcp": packet.SYN(web), "tcp6": packet.SYN(web6), "sctp": web.SCTP(0, packet.SCTPInit(1, 100)),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			f := inject.Flood{Template: template, N: b.N, Vary: []inject.Vary{
				{Field: inject.VarySrcPort, Count: 50_000}, {Field: inject.VarySrc, Count: 100},
			}}
			if got, err := f.Send(b.Context(), &batchSink{}); got.Sent != b.N || err != nil {
				b.Fatal(got, err)
			}
		})
	}
}
