// Package flood has what the floods of inject and xdpflood share: a Plan of the packets that are due, and the wait for the
// host at the end.
package flood

import (
	"context"
	"math"
	"reflect"
	"sync"
	"time"

	"github.com/ctexp/go-ctexp/internal/patience"
)

// Plan says which packets of a flood are to be sent, and when. It may be used by several goroutines at once.
type Plan struct {
	start    time.Time
	n        uint64        // packets; the largest number: no limit
	duration time.Duration // 0: no limit
	rate     float64       // packets per second; 0: no limit
	pause    time.Duration // the least wait, so that high rates come in bursts

	mu    sync.Mutex
	next  uint64 // number of the next packet
	begun bool   // something was claimed
}

// NewPlan returns the plan of a flood that begins now. Zero is no limit, of packets, time or rate. No wait is shorter than pause.
func NewPlan(n int, duration time.Duration, rate float64, pause time.Duration) *Plan {
	p := &Plan{start: time.Now(), n: uint64(n), duration: duration, rate: rate, pause: pause}
	if n == 0 {
		p.n = math.MaxUint64
	}
	return p
}

// Start returns when the flood began.
func (p *Plan) Start() time.Time { return p.start }

// Claim returns which packets are to be sent now: n of them, at most most, the first of which has number from. Where there
// are none it returns how long to wait, and 0 when the flood is over. The first Claim is never over, however late it is: on a
// busy machine the process may have had no time before.
func (p *Plan) Claim(most int) (from uint64, n int, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := min(p.n-p.next, uint64(most))
	took := time.Since(p.start)
	if left == 0 || p.begun && p.duration > 0 && took >= p.duration {
		return 0, 0, 0
	}
	late := p.duration > 0 && took >= p.duration
	if late && p.rate > 0 { // of what was due in time
		left = min(left, max(1, uint64(math.Ceil(p.duration.Seconds()*p.rate))))
	} else if p.rate > 0 { // packet i is due after i/rate
		due := took.Seconds() * p.rate
		if float64(p.next) > due {
			wait = time.Duration(float64(p.next)/p.rate*float64(time.Second)) - took + 1
			if p.duration > 0 {
				wait = min(wait, p.duration-took)
			}
			return 0, 0, max(wait, p.pause)
		}
		left = min(left, uint64(due)-p.next+1)
	}
	from = p.next
	p.next += left
	p.begun = true
	return from, int(left), 0
}

// Unclaim gives back the last n packets of a claim, which were not sent, where one goroutine claims.
func (p *Plan) Unclaim(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next -= uint64(n)
}

// Pause waits, or until ctx ends.
func Pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// grace is how long Fence may still take when ctx has ended before it.
const grace = time.Second

// Fence waits until the host is done with what was written to a link, a little while also where ctx is over: the caller wants
// to know what came of the packets that were sent.
func Fence(ctx context.Context, link interface{ Fence(context.Context) error }) error {
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = patience.WithTimeout(context.WithoutCancel(ctx), grace, context.DeadlineExceeded)
		defer cancel()
	}
	return link.Fence(ctx)
}

// IsNil reports whether a link is nil, or a nil pointer such as netnsenv.Env.Link returns for a name that no link has.
func IsNil(link any) bool {
	v := reflect.ValueOf(link)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}
