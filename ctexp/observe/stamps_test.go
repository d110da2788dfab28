package observe

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Until the kernel stamps packets, the time of reading is none of theirs; from then on all stamps are good, also of what
// comes while it is being read.
func TestStampsOfReadingAreNone(t *testing.T) {
	t.Parallel()
	s := stamps{empty: us(1)}
	var got []time.Time
	for _, c := range []struct{ stamp, read, empty int }{
		{stamp: 10, read: 9, empty: 12},
		{stamp: 20, read: 20, empty: 22},
		{stamp: 25, read: 30, empty: 32},
		{stamp: 41, read: 40, empty: 42},
	} {
		got = append(got, s.of(us(c.stamp), us(c.read)))
		s.empty = us(c.empty)
	}
	if diff := cmp.Diff([]time.Time{us(1), us(12), us(25), us(41)}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
