package observe

import (
	"context"
	"errors"
	"testing"
)

// A message that is too short to be an event is an error of the counts.
func TestEndsNeedWholeMessages(t *testing.T) {
	t.Parallel()
	var c ends
	if err := c.add([]byte{1, 2, 3}); err == nil || c.counts != (endCounts{}) {
		t.Errorf("3 bytes: %v, %v", err, c.counts)
	}
}

// Nothing is yielded once the context is over.
func TestNoEventsAfterTheEndOfTheContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := new(Observer).yieldPiece(ctx, eventPiece{gap: true}, &eventDecoder{}, func(e Event, err error) bool {
		t.Errorf("%v, %v", e, err)
		return true
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
