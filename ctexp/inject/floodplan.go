package inject

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// plan says which packets of a Flood are to be sent, and when.
type plan struct {
	start    time.Time
	n        uint64        // packets; the largest number: no limit
	duration time.Duration // 0: no limit
	rate     float64       // packets per second; 0: no limit

	mu   sync.Mutex
	next uint64

	sent atomic.Uint64
}

const (
	floodBatch = 64                     // packets at a time, at most
	leastPause = 200 * time.Microsecond // what a timer can keep, so that high rates come in bursts
)

func newPlan(f Flood) *plan {
	p := &plan{start: time.Now(), n: uint64(f.N), duration: f.Duration, rate: f.Rate}
	if f.N == 0 {
		p.n = math.MaxUint64
	}
	return p
}

// claim returns which packets are to be sent now: n of them, at most floodBatch, the first of which has number from. Where
// there are none it returns how long to wait, and 0 when all is over.
func (p *plan) claim() (from, n uint64, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := p.n - p.next
	if left == 0 {
		return 0, 0, 0
	}
	n = min(left, floodBatch)
	if p.duration == 0 && p.rate == 0 {
		return p.take(n)
	}
	took := time.Since(p.start)
	if p.duration > 0 && took >= p.duration {
		return 0, 0, 0
	}
	if p.rate == 0 {
		return p.take(n)
	}
	if due := took.Seconds() * p.rate; float64(p.next) <= due { // packet i is due after i/rate
		return p.take(min(n, uint64(due)-p.next+1))
	}
	wait = time.Duration(float64(p.next)/p.rate*float64(time.Second)) - took + 1
	if p.duration > 0 {
		wait = min(wait, p.duration-took)
	}
	return 0, 0, max(wait, leastPause)
}

func (p *plan) take(n uint64) (from, count uint64, wait time.Duration) {
	from = p.next
	p.next += n
	return from, n, 0
}
