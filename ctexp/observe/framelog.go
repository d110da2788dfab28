package observe

import (
	"fmt"
	"strings"
	"sync"
)

// framelog is what was captured so far.
type framelog struct {
	mu     sync.Mutex
	limit  int
	frames []Frame
	lost   lostFrames
	memory []byte // what is left of a piece of memory that several packets share
}

// lostFrames counts what is missing among the frames.
type lostFrames struct {
	beyond uint64 // came when the limit was reached
	cut    uint64 // are there, but were larger than the buffer
	kernel uint64 // found the kernel's buffer full
}

// String says how many are missing and why.
func (l lostFrames) String() string {
	var s []string
	for _, why := range []struct {
		n    uint64
		what string
	}{
		{l.kernel, "found the kernel's buffer full"},
		{l.beyond, "came when as many were kept as the Config allows"},
		{l.cut, "are not whole"},
	} {
		if why.n > 0 {
			s = append(s, fmt.Sprintf("%d %s", why.n, why.what))
		}
	}
	return strings.Join(s, ", ")
}

const framelogPiece = 64 << 10

// add keeps a copy of f.
func (l *framelog) add(f Frame, cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.frames) >= l.limit {
		l.lost.beyond++
		return
	}
	if cut {
		l.lost.cut++
	}
	f.Ethernet, f.Packet = l.keep(f.Ethernet), l.keep(f.Packet)
	l.frames = append(l.frames, f)
}

// keep returns a copy of b; nil of nil.
func (l *framelog) keep(b []byte) []byte {
	if b == nil {
		return nil
	}
	n := len(b)
	if n > len(l.memory) {
		l.memory = make([]byte, max(n, framelogPiece))
	}
	copy(l.memory, b)
	b, l.memory = l.memory[:n:n], l.memory[n:]
	return b
}

// dropped adds to the frames that the kernel had to drop.
func (l *framelog) dropped(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost.kernel += n
}

// snapshot returns the frames so far, which later ones do not change, and what is missing among them.
func (l *framelog) snapshot() ([]Frame, lostFrames) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.frames[:len(l.frames):len(l.frames)], l.lost
}
