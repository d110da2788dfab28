package patience

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

var errOver = errors.New("over")

// The time of a turn that is waited for does not count, neither for the innermost timeout nor for one around it, but the
// deadline of a plain context does.
func TestWaitingForATurnIsOutsideOfTheTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var turns Turns
		done, err := turns.Take(t.Context(), "hold it")
		if err != nil {
			t.Fatal(err)
		}
		outer, cancel := WithTimeout(t.Context(), 30*time.Second, errOver)
		defer cancel()
		inner, cancel := WithTimeout(outer, 10*time.Second, errOver)
		defer cancel()
		var told []string
		ctx := Telling(inner, func(s string) { told = append(told, s) })
		short, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		time.AfterFunc(time.Hour, done)

		_, first := turns.Take(short, "fill")
		next, second := turns.Take(ctx, "fill")

		if !errors.Is(first, context.DeadlineExceeded) || first.Error() != "waiting for the turn to fill, 1 before: context deadline exceeded" {
			t.Errorf("a plain deadline: %v", first)
		}
		if second != nil || inner.Err() != nil || outer.Err() != nil {
			t.Fatalf("the turn after an hour: %v, %v, %v", second, inner.Err(), outer.Err())
		}
		next()
		if want := []string{"waiting for the turn to fill: 1 before", "waiting for the turn to fill: 1 before"}; !slices.Equal(told, want) {
			t.Errorf("told %q", told)
		}
		<-inner.Done()
		if context.Cause(inner) != errOver || outer.Err() != nil {
			t.Errorf("after the turn: %v, %v", context.Cause(inner), outer.Err())
		}
	})
}

// Turns come in the order of Take, also if some do not wait for theirs.
func TestTurnsAreInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var turns Turns
		done, _ := turns.Take(t.Context(), "")
		gone, leave := context.WithCancel(t.Context())
		order := make(chan int, 10)
		for i := range 4 {
			ctx := t.Context()
			if i == 1 {
				ctx = gone
			}
			go func() {
				if done, err := turns.Take(ctx, ""); err == nil {
					order <- i
					done()
				}
			}()
			synctest.Wait()
		}
		leave()
		synctest.Wait()
		done()
		synctest.Wait()
		close(order)
		var got []int
		for i := range order {
			got = append(got, i)
		}
		if want := []int{0, 2, 3}; !slices.Equal(got, want) {
			t.Errorf("turns %v, want %v", got, want)
		}
	})
}

func TestTimeLostToOthersDoesNotCount(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, c := range []struct {
		now  usage
		want float64
	}{
		{usage{}, 1},
		{usage{ran: 5 * ms}, 1},
		{usage{ran: 5 * ms, waited: 5 * ms}, 0.5},
		{usage{ran: 1 * ms, waited: 39 * ms}, 0.025},
	} {
		if got := share(usage{}, c.now); got != c.want {
			t.Errorf("%+v: share %v, want %v", c.now, got, c.want)
		}
	}
}

func TestTheContextEndsWithItsCauseOrItsParent(t *testing.T) {
	t.Parallel()
	ctx, cancel := WithTimeout(t.Context(), time.Nanosecond, errOver)
	defer cancel()
	<-ctx.Done()
	if context.Cause(ctx) != errOver || ctx.Err() != context.DeadlineExceeded {
		t.Errorf("cause %v, %v", context.Cause(ctx), ctx.Err())
	}
	parent, end := context.WithCancelCause(t.Context())
	ctx, cancel = WithTimeout(parent, time.Hour, errOver)
	defer cancel()
	end(context.Canceled)
	if <-ctx.Done(); context.Cause(ctx) != context.Canceled || ctx.Err() != context.Canceled {
		t.Errorf("cause %v, %v", context.Cause(ctx), ctx.Err())
	}
}

// What takes longer than two seconds is told, once; what does not, and what nobody wants to hear, is not.
func TestWhatTakesLongIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told []string
		ctx := Telling(t.Context(), func(s string) { told = append(told, s) })
		takes := func(ctx context.Context, d time.Duration, what string) {
			defer Doing(ctx, what)()
			<-time.After(d)
		}
		takes(ctx, time.Second, "quick")
		takes(ctx, 10*time.Second, "slow")
		takes(t.Context(), 10*time.Second, "silent")
		if want := []string{"slow"}; !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	})
}
