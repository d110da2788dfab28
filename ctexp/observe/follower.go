package observe

import "sync"

// follower is the queue of one that follows the events while they come.
type follower struct {
	ready chan struct{} // has one value when there is something new

	mu    sync.Mutex
	queue eventQueue
	full  bool // events were missed since the last take: the queue was at its limit
}

// follow returns a follower of what comes from now on.
func (l *eventlog) follow() *follower {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := &follower{ready: make(chan struct{}, 1)}
	if l.followers == nil {
		l.followers = map[*follower]struct{}{}
	}
	l.followers[f] = struct{}{}
	if l.closed {
		f.wake()
	}
	return f
}

// leave ends the following.
func (l *eventlog) leave(f *follower) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.followers, f)
}

func (f *follower) put(p eventPiece, limit int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full {
		return
	}
	if f.queue.put(p, limit) > 0 {
		f.full = true
		f.queue.put(eventPiece{read: p.read, gap: true}, limit)
	}
	f.wake()
}

func (f *follower) wake() {
	select {
	case f.ready <- struct{}{}:
	default: // it is awake
	}
}

// take returns what has come and empties the queue.
func (f *follower) take() []eventPiece {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.queue.pieces
	f.queue, f.full = eventQueue{}, false
	return p
}
