package observe

import (
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
