package observe_test

import (
	"iter"
	"testing"
	"time"

	"github.com/ti-mo/conntrack"
	"github.com/ti-mo/netfilter"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// queuedEvents are so many as fit into the receive buffer that an ordinary user gets by default.
const queuedEvents = 250

// rates measures how fast queued events are taken: by the recorder, and by ti-mo's Listen with one worker.
type rates struct {
	lab
	listen *conntrack.Conn
	heard  chan conntrack.Event
	failed chan error
}

func openRates(t testing.TB) *rates {
	r := &rates{lab: open(t, netnsenv.Config{Silent: true, NoPath: true}, func(c *observe.Config) { c.NoFrames = true })}
	needs.Check(t, r.env.Do(func() (err error) {
		r.listen, err = conntrack.Dial(nil)
		return err
	}))
	t.Cleanup(func() { _ = r.listen.Close() })
	r.heard = make(chan conntrack.Event) // without a buffer: what nobody takes stays in the kernel's queue
	err := r.listen.SetReadBuffer(1 << 20)
	if err == nil {
		r.failed, err = r.listen.Listen(r.heard, 1, []netfilter.NetlinkGroup{netfilter.GroupCTNew})
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// round queues events for both and returns how long each takes to have them.
func (r *rates) round() (recorder, listen time.Duration) {
	r.Helper()
	release := observe.HoldEvents(r.o)
	if n, err := r.env.Table().CreateAll(r.Context(), established(queuedEvents)); err != nil {
		release()
		r.Fatalf("%d created: %v", n, err)
	}
	start := time.Now()
	release()
	r.o.Drain()
	recorder = time.Since(start)
	start = time.Now()
	lost := time.After(20 * time.Second)
	for range queuedEvents {
		select {
		case <-lost:
			r.Fatal("Listen has lost events without a word")
		case <-r.heard:
		case err := <-r.failed:
			r.Fatal(err)
		}
	}
	listen = time.Since(start)
	if _, err := r.env.Table().Flush(r.Context(), nf.Filter{}); err != nil {
		r.Fatal(err)
	}
	r.o.Drain()
	return recorder, listen
}

func established(n int) iter.Seq[nf.Entry] {
	return func(yield func(nf.Entry) bool) {
		for i := range n {
			tuple := packet.SYN(web.Nth(i)).Tuple()
			if !yield(nf.Entry{Orig: tuple, Reply: tuple.Reverse(), State: nf.Established, Timeout: time.Hour}) {
				return
			}
		}
	}
}

// Both readers in the same run: events per second.
func BenchmarkRecordEvents(b *testing.B) {
	x := openRates(b)
	var recorder, listen time.Duration
	for b.Loop() {
		r, l := x.round()
		recorder += r
		listen += l
	}
	n := float64(queuedEvents * b.N)
	b.ReportMetric(n/recorder.Seconds(), "events/s")
	b.ReportMetric(n/listen.Seconds(), "listen-events/s")
}

// What it costs to look at what was recorded.
func BenchmarkDecodeEvents(b *testing.B) {
	x := open(b, netnsenv.Config{Silent: true, NoPath: true})
	const n = 10000
	if _, err := x.env.Table().WatchedBy(netnsenv.Watcher{Drain: x.o.Drain}).CreateAll(b.Context(), established(n)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := lastError(x.o.Events(b.Context())); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "events/s")
}
