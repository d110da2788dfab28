package observe_test

import (
	"slices"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// fastest is an Env in which packets to astray cost the kernel the least, so that they can be injected as fast as can be.
var fastest = netnsenv.Config{Conntrack: netnsenv.Off, Silent: true, NoPath: true}

// astray is a flow to somebody else, which a host that is no router drops.
var astray = packet.Flow{Src: web.Src, Dst: addrPort("203.0.113.9:80")}

// flood injects n packets by the first link at full speed, and drains now and then, as a Lab does.
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

// Nothing of a flood is lost, and all of it is in order.
func TestCaptureKeepsUpWithAFlood(t *testing.T) {
	t.Parallel()
	const n = 100_000
	for name, capture := range captures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := open(t, fastest, capture, func(c *observe.Config) { c.MaxFrames = 2 * n })
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

// What capturing costs a flood: the ways one after the other in short turns, so that what else the machine does falls on
// all of them alike. The medians count; none of the frames may be lost.
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
