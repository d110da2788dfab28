package flood_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ctexp/go-ctexp/internal/flood"
)

// claims follows a plan to its end, and returns when which packets were due.
func claims(p *flood.Plan, most int) (due []time.Duration, sent uint64) {
	for {
		from, n, wait := p.Claim(most)
		switch {
		case n > 0:
			if from != sent {
				panic("a packet was left out")
			}
			due, sent = append(due, time.Since(p.Start())), from+uint64(n)
		case wait > 0:
			flood.Pause(context.Background(), wait)
		default:
			return due, sent
		}
	}
}

// Five packets: as they are claimed, at a rate, until a time is over, and with a pause that is longer than the rate's.
func TestAPlanSaysWhenPacketsAreDue(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		n        int
		duration time.Duration
		rate     float64
		pause    time.Duration
		sent     uint64
		claims   int
		last     time.Duration
	}{
		"at once":     {n: 5, sent: 5, claims: 3},
		"at a rate":   {n: 5, rate: 100, pause: ms, sent: 5, claims: 5, last: 40 * ms},
		"in bursts":   {n: 5, rate: 100, pause: 20 * ms, sent: 5, claims: 3, last: 40 * ms},
		"for a time":  {duration: 45 * ms, rate: 100, pause: ms, sent: 5, claims: 5, last: 40 * ms},
		"both limits": {n: 3, duration: 45 * ms, rate: 100, pause: ms, sent: 3, claims: 3, last: 20 * ms},
	} {
		synctest.Test(t, func(t *testing.T) {
			due, sent := claims(flood.NewPlan(c.n, c.duration, c.rate, c.pause), 2)
			if sent != c.sent || len(due) != c.claims || due[len(due)-1].Round(ms) != c.last {
				t.Errorf("%s: %d packets, claimed after %v; want %d in %d claims, the last after %v", name, sent, due, c.sent, c.claims, c.last)
			}
		})
	}
}

// A process that gets no time before the flood's time is over sends a batch of what was due in it.
func TestALateFloodSendsSomething(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for rate, want := range map[float64]uint64{0: 2, 100: 1, 10_000: 2} {
			p := flood.NewPlan(0, time.Millisecond, rate, time.Millisecond)
			flood.Pause(t.Context(), time.Second)
			if _, sent := claims(p, 2); sent != want {
				t.Errorf("rate %v: %d packets, want %d", rate, sent, want)
			}
		}
	})
}

// What was claimed and not sent is due again.
func TestWhatIsUnclaimedIsDueAgain(t *testing.T) {
	t.Parallel()
	p := flood.NewPlan(4, 0, 0, 0)
	_, n, _ := p.Claim(3)
	p.Unclaim(2)
	from, rest, _ := p.Claim(10)
	if n != 3 || from != 1 || rest != 3 {
		t.Errorf("first %d, then %d from %d", n, rest, from)
	}
}

type slow struct{}

func (slow) Fence(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// The fence may take a second longer than the context that has ended.
func TestTheFenceHasAGrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		start := time.Now()
		if err := flood.Fence(ctx, slow{}); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) < time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}
