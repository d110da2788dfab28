package observe

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// eventlog keeps the messages of events as the kernel sent them; they are decoded when somebody wants to know.
type eventlog struct {
	mu        sync.Mutex
	limit     int // of events kept, here and for each that follows
	kept      eventQueue
	lost      lostEvents
	memory    []byte // what is left of a piece of memory that several pieces share
	followers map[*follower]struct{}
	fresh     chan struct{} // closed when there is more; nil while nobody waits
	closed    bool
}

// lostEvents counts what is missing among the events.
type lostEvents struct {
	overruns int // how often the receive buffer was full; what it could not hold nobody counts
	beyond   int // came when the limit was reached
}

const overrunHint = "call Observer.Drain more often, or ask for a larger Config.EventBuffer, which net.core.rmem_max bounds for an ordinary user"

// String says what is missing and why.
func (l lostEvents) String() string {
	var s []string
	switch {
	case l.overruns == 1:
		s = append(s, "the receive buffer was full once ("+overrunHint+")")
	case l.overruns > 1:
		s = append(s, fmt.Sprintf("the receive buffer was full %d times (%s)", l.overruns, overrunHint))
	}
	if l.beyond > 0 {
		s = append(s, fmt.Sprintf("%d came when as many were kept as the Config allows", l.beyond))
	}
	return strings.Join(s, ", ")
}

const eventlogPiece = 64 << 10

// add keeps copies of the n messages that one read gave, and hands them to whoever follows.
func (l *eventlog) add(read time.Time, n int, message func(i int) []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept.events >= l.limit && len(l.followers) == 0 {
		l.lost.beyond += n
	} else {
		l.put(eventPiece{read: read, messages: l.copy(n, message), events: n})
	}
	l.wake()
}

// overrun says that events are missing behind those that were added so far.
func (l *eventlog) overrun(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost.overruns++
	l.put(eventPiece{read: now, gap: true})
	l.wake()
}

func (l *eventlog) put(p eventPiece) {
	for f := range l.followers {
		f.put(p, l.limit)
	}
	l.lost.beyond += l.kept.put(p, l.limit)
}

func (l *eventlog) copy(n int, message func(i int) []byte) []byte {
	size := 0
	for i := range n {
		size += len(message(i))
	}
	if size > len(l.memory) {
		l.memory = make([]byte, max(size, eventlogPiece))
	}
	b := l.memory[:0:size]
	for i := range n {
		b = append(b, message(i)...)
	}
	l.memory = l.memory[size:]
	return b
}

// snapshot returns the events so far, which later ones do not change, and what is missing among them.
func (l *eventlog) snapshot() ([]eventPiece, lostEvents) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.kept.pieces
	return p[:len(p):len(p)], l.lost
}

// next returns what is closed when there is more than now, or when the log is closed.
func (l *eventlog) next() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fresh == nil {
		l.fresh = make(chan struct{})
	}
	c := l.fresh
	if l.closed {
		l.wake()
	}
	return c
}

// wake must be called with the lock held.
func (l *eventlog) wake() {
	if l.fresh != nil {
		close(l.fresh)
		l.fresh = nil
	}
}

// close wakes all that wait, from now on at once.
func (l *eventlog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for f := range l.followers {
		f.wake()
	}
	l.wake()
}
