package observe

import (
	"encoding/binary"
	"time"
)

// eventQueue has events in the kernel's order, up to a limit.
type eventQueue struct {
	pieces []eventPiece
	events int
}

// eventPiece is what one read gave: whole netlink messages one behind the other; or the place where events are missing.
type eventPiece struct {
	read     time.Time
	messages []byte
	events   int
	gap      bool
}

// put appends as much of p as fits and returns how many events did not.
func (q *eventQueue) put(p eventPiece, limit int) (beyond int) {
	if beyond = q.events + p.events - limit; beyond > 0 {
		p = p.first(p.events - beyond)
	}
	if p.events > 0 || p.gap {
		q.pieces = append(q.pieces, p)
		q.events += p.events
	}
	return max(beyond, 0)
}

// first returns the piece with its first n events only.
func (p eventPiece) first(n int) eventPiece {
	end := 0
	for range n {
		end += messageLen(p.messages[end:])
	}
	p.messages, p.events = p.messages[:end:end], n
	return p
}

// each yields the messages of the piece.
func (p eventPiece) each(yield func(msg []byte) bool) {
	for b := p.messages; len(b) > 0; {
		n := messageLen(b)
		if !yield(b[:n:n]) {
			return
		}
		b = b[n:]
	}
}

// messageLen returns how long the first message of b is. That b has it whole, who filled the queue has seen to.
func messageLen(b []byte) int { return int(binary.NativeEndian.Uint32(b)) }
