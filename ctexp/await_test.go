package ctexp_test

import (
	"context"
	"errors"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

func TestAwaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	asked := 0
	err := ctexp.Await(ctx, func() (bool, error) {
		if asked++; asked == 3 {
			cancel(why)
		}
		return false, nil
	})
	if !errors.Is(err, why) || asked != 3 {
		t.Errorf("asked %d times, then %v", asked, err)
	}
}

func TestAwaitEndsWithAnErrorOfItsCondition(t *testing.T) {
	t.Parallel()
	why := errors.New("no way")
	if err := ctexp.Await(t.Context(), func() (bool, error) { return false, why }); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
}

// What happens to the table wakes whoever awaits, long before the next tick.
func TestAwaitWakesOnEvents(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true})
	next := x.Observer.NextEvent()
	sent := make(chan error, 1)
	go func() {
		_, err := x.Lab.Inject(t.Context(), inject.SYNs(1, web))
		sent <- err
	}()
	select {
	case <-next:
	case <-t.Context().Done():
		t.Fatal("no event")
	}
	x.Await("the entry", func() bool { return len(x.Flows()) == 1 })
	if err := <-sent; err != nil {
		t.Error(err)
	}
}
