package observe

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// reasonlog is what conntrack has said so far.
type reasonlog struct {
	mu      sync.Mutex
	limit   int // of reasons kept
	reasons []Reason
	invalid []Reason         // packets that conntrack called INVALID, without a text
	said    map[saidOf]*Said // of all, kept or not
	lost    lostReasons
	next    uint32 // number of the next packet that is logged with a reason
	unheard uint64 // of the INVALID ones, those that found the receive buffer full
	nextOf  uint32 // number of the next of these
}

// lostReasons counts what is missing among the reasons.
type lostReasons struct {
	unread uint64 // found the receive buffer full, by the numbers that lack
	tail   bool   // so did the latest, nobody knows how many: no number has come since
	beyond uint64 // came when the limit was reached
}

// String says how many are missing and why.
func (l lostReasons) String() string {
	var s []string
	if l.unread > 0 {
		s = append(s, fmt.Sprintf("%d found the receive buffer full", l.unread))
	}
	if l.tail {
		s = append(s, "the latest found the receive buffer full")
	}
	if l.beyond > 0 {
		s = append(s, fmt.Sprintf("%d came when as many were kept as fit", l.beyond))
	}
	return strings.Join(s, ", ")
}

// maxReasons bounds what is kept; a flood of INVALID packets gives one each.
const maxReasons = 100_000

// add keeps what one datagram says. Links are named by link; now is the time of what has none.
func (l *reasonlog) add(datagram []byte, now time.Time, link func(index int32) string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return nfnl.EachLogged(datagram, func(p nfnl.Logged) error {
		if p.Group == ours.InvalidGroup {
			if p.HasSeq {
				l.unheard += uint64(p.Seq - l.nextOf)
				l.nextOf = p.Seq + 1
			}
			if len(l.invalid) >= l.limit {
				l.unheard++
				return nil
			}
			l.invalid = append(l.invalid, reasonOf(p, now, link))
			return nil
		}
		if p.HasSeq && p.Seq != l.next {
			l.lost.unread += uint64(p.Seq - l.next) // the number goes round as the kernel's does
			l.lost.tail = false
		}
		l.next = p.Seq + 1
		proto, text, ok := splitReason(p.Prefix)
		if !ok {
			return nil
		}
		l.count(Said{Family: familyOf(p.Payload), Proto: proto, Text: text, Packets: 1})
		if len(l.reasons) >= l.limit {
			l.lost.beyond++
			return nil
		}
		r := reasonOf(p, now, link)
		r.Text, r.Proto = text, proto
		l.reasons = append(l.reasons, r)
		return nil
	})
}

// reasonOf returns a logged packet as a Reason without a text.
func reasonOf(p nfnl.Logged, now time.Time, link func(index int32) string) Reason {
	r := Reason{Time: p.Time, Packet: bytes.Clone(p.Payload)}
	if r.Time.IsZero() {
		r.Time = now
	}
	switch {
	case p.In != 0:
		r.Link = link(p.In)
	case p.Out != 0:
		r.Link = link(p.Out)
	}
	return r
}

// overrun says that there was no room for something. How much shows in the number of what comes next.
func (l *reasonlog) overrun() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost.tail = true
}

// snapshot returns the reasons so far, which later ones do not change, and what is missing among them.
func (l *reasonlog) snapshot() ([]Reason, lostReasons) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reasons[:len(l.reasons):len(l.reasons)], l.lost
}

// called returns the packets that were called INVALID so far, and how many of them are missing.
func (l *reasonlog) called() ([]Reason, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.invalid[:len(l.invalid):len(l.invalid)], l.unheard
}

// count adds to how often it was said. Texts that differ in their numbers count as one.
func (l *reasonlog) count(s Said) {
	if l.said == nil {
		l.said = map[saidOf]*Said{}
	}
	known := l.said[s.key()]
	if known == nil {
		l.said[s.key()] = &s
		return
	}
	known.Packets += s.Packets
	if known.Text != s.Text {
		known.Text = numberless(s.Text)
	}
}

// counts returns how often each text was said, kept or not, in an order of its own.
func (l *reasonlog) counts() []Said {
	l.mu.Lock()
	defer l.mu.Unlock()
	counts := make([]Said, 0, len(l.said))
	for _, s := range l.said {
		counts = append(counts, *s)
	}
	slices.SortFunc(counts, Said.compare)
	return counts
}
