package xdpflood

import (
	"math"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/inject"
)

// plan says how many packets are to be sent now.
type plan struct {
	start    time.Time
	next     uint64        // number of the next packet
	n        uint64        // packets; the largest number: no limit
	duration time.Duration // 0: no limit
	rate     float64       // packets per second; 0: no limit
}

const (
	mostAtATime = 1024             // packets of a flood that time ends, lest it lasts too long
	leastPause  = time.Millisecond // so that a rate comes in bursts, which cost less than single packets
)

func newPlan(f inject.Flood) plan {
	p := plan{start: time.Now(), n: uint64(f.N), duration: f.Duration, rate: f.Rate}
	if f.N == 0 {
		p.n = math.MaxUint64
	}
	return p
}

// due returns how many packets are to be sent at once, at most so many.
func (p *plan) due(most int) int {
	n := min(p.n-p.next, uint64(most))
	took := time.Since(p.start)
	if p.duration > 0 {
		if took >= p.duration {
			return 0
		}
		n = min(n, mostAtATime)
	}
	if p.rate > 0 { // packet i is due after i/rate
		if due := took.Seconds() * p.rate; float64(p.next) <= due {
			n = min(n, uint64(due)-p.next+1)
		} else {
			n = 0
		}
	}
	return int(n)
}

// wait returns how long to wait for the next packet, and whether there is none.
func (p *plan) wait() (wait time.Duration, over bool) {
	took := time.Since(p.start)
	if p.next == p.n || p.duration > 0 && took >= p.duration {
		return 0, true
	}
	if p.rate == 0 {
		return 0, false
	}
	wait = time.Duration(float64(p.next)/p.rate*float64(time.Second)) - took + 1
	if wait <= 0 {
		return 0, false
	}
	wait = max(wait, leastPause)
	if p.duration > 0 {
		wait = min(wait, p.duration-took)
	}
	return wait, false
}
