package observe

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// numbered returns n messages that differ in their mark.
func numbered(first, n int) func(i int) []byte {
	return func(i int) []byte { return message(msgEntryNew, attr(8, 0, 0, 0, byte(first+i))) }
}

// marks returns the marks of the events of some pieces, and -1 where events are missing.
func marks(t *testing.T, pieces []eventPiece) []int {
	t.Helper()
	var got []int
	var d eventDecoder
	for _, p := range pieces {
		if p.gap {
			got = append(got, -1)
		}
		for msg := range p.each {
			e, ok, err := d.decode(msg, p.read)
			if !ok || err != nil {
				t.Fatal(ok, err)
			}
			got = append(got, int(e.Entry.Mark))
		}
	}
	return got
}

func TestEventlogKeepsTheOrder(t *testing.T) {
	t.Parallel()
	l := &eventlog{limit: 100}
	l.add(time.Time{}, 3, numbered(1, 3))
	before, _ := l.snapshot()
	l.overrun(time.Time{})
	l.add(time.Time{}, 2, numbered(4, 2))
	after, lost := l.snapshot()
	if diff := cmp.Diff([][]int{{1, 2, 3}, {1, 2, 3, -1, 4, 5}}, [][]int{marks(t, before), marks(t, after)}); diff != "" {
		t.Errorf("before and after (-want +got):\n%s", diff)
	}
	if want := (lostEvents{overruns: 1}); lost != want {
		t.Errorf("lost %+v, want %+v", lost, want)
	}
}

// What comes when the limit is reached is counted, also when only a part of one read still fits.
func TestEventlogEndsAtItsLimit(t *testing.T) {
	t.Parallel()
	l := &eventlog{limit: 4}
	l.add(time.Time{}, 3, numbered(1, 3))
	l.add(time.Time{}, 3, numbered(4, 3))
	l.add(time.Time{}, 1, numbered(7, 1))
	pieces, lost := l.snapshot()
	if diff := cmp.Diff([]int{1, 2, 3, 4}, marks(t, pieces)); diff != "" || lost.beyond != 3 {
		t.Errorf("%d beyond (-want +got):\n%s", lost.beyond, diff)
	}
}

// Who follows gets what comes while it does, also beyond what is kept; what it does not take in time it misses.
func TestFollowerHasItsOwnLimit(t *testing.T) {
	t.Parallel()
	l := &eventlog{limit: 4}
	l.add(time.Time{}, 4, numbered(1, 4))
	f := l.follow()
	l.add(time.Time{}, 3, numbered(5, 3))
	first := f.take()
	l.add(time.Time{}, 6, numbered(8, 6))
	l.add(time.Time{}, 1, numbered(14, 1))
	second := f.take()
	l.add(time.Time{}, 1, numbered(15, 1))
	third := f.take()
	l.leave(f)
	l.add(time.Time{}, 1, numbered(16, 1))

	got := [][]int{marks(t, first), marks(t, second), marks(t, third), marks(t, f.take())}
	if diff := cmp.Diff([][]int{{5, 6, 7}, {8, 9, 10, 11, -1}, {15}, nil}, got); diff != "" {
		t.Errorf("taken one after the other (-want +got):\n%s", diff)
	}
	if pieces, lost := l.snapshot(); lost.beyond != 12 || len(marks(t, pieces)) != 4 {
		t.Errorf("kept %v, lost %+v", marks(t, pieces), lost)
	}
}

// What waits for the next event is woken by one, by a gap, and by the end, which it then finds at once.
func TestEventlogWakes(t *testing.T) {
	t.Parallel()
	l := &eventlog{limit: 1}
	for name, happen := range map[string]func(){
		"event": func() { l.add(time.Time{}, 1, numbered(1, 1)) },
		"gap":   func() { l.overrun(time.Time{}) },
	} {
		next := l.next()
		select {
		case <-next:
			t.Errorf("%s: woken before it", name)
		default:
		}
		happen()
		<-next
	}
	f := l.follow()
	next := l.next()
	l.close()
	<-next
	<-f.ready
	<-l.next()
	<-l.follow().ready
}

func TestLostEventsSayWhatIsMissing(t *testing.T) {
	t.Parallel()
	const hint = "call Observer.Drain more often, or ask for a larger Config.EventBuffer, which net.core.rmem_max bounds for an ordinary user"
	got := []string{lostEvents{overruns: 1}.String(), lostEvents{overruns: 2, beyond: 7}.String()}
	want := []string{
		"the receive buffer was full once (" + hint + ")",
		"the receive buffer was full 2 times (" + hint + "), 7 came when as many were kept as the Config allows",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func BenchmarkEventlogAdd(b *testing.B) {
	m := message(msgEntryNew, make([]byte, 200))
	b.ReportAllocs()
	l := &eventlog{limit: 1 << 20}
	for b.Loop() {
		if l.kept.events >= l.limit {
			l.kept = eventQueue{}
		}
		l.add(time.Time{}, batchSizeForTest, func(int) []byte { return m })
	}
}

const batchSizeForTest = 32
