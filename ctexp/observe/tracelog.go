package observe

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// tracelog is what the kernel told of traced packets so far.
type tracelog struct {
	mu    sync.Mutex
	limit int // of messages kept
	kept  []tracedAt
	names map[string]string // one copy of each name
	heard bool              // there was a message at all
	lost  lostSteps
}

// traced is a message about a traced packet.
type traced nfnl.Trace

// tracedAt is a message and when it was read.
type tracedAt struct {
	traced
	time time.Time
}

// lostSteps counts what is missing in the trace.
type lostSteps struct {
	overruns uint64 // times that the receive buffer was full; how many found it so nobody knows
	beyond   uint64 // messages that came when the limit was reached
}

// String says what is missing and why.
func (l lostSteps) String() string {
	var s []string
	if l.overruns > 0 {
		s = append(s, fmt.Sprintf("the receive buffer was full %d times", l.overruns))
	}
	if l.beyond > 0 {
		s = append(s, fmt.Sprintf("%d came when as many were kept as fit", l.beyond))
	}
	return strings.Join(s, ", ")
}

// maxTraced bounds what is kept, some 200 bytes each.
const maxTraced = 500_000

// add keeps what one datagram tells.
func (l *tracelog) add(datagram []byte, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return nfnl.EachTrace(datagram, func(t nfnl.Trace) error {
		m := traced(t)
		l.heard = true
		if m.isOurs() && !m.begins() {
			return nil
		}
		if len(l.kept) >= l.limit {
			l.lost.beyond++
			return nil
		}
		m.Table, m.Chain, m.To = l.name(m.Table), l.name(m.Chain), l.name(m.To)
		m.Network, m.Transport = bytes.Clone(m.Network), bytes.Clone(m.Transport)
		l.kept = append(l.kept, tracedAt{m, now})
		return nil
	})
}

func (l *tracelog) name(s string) string {
	if known, ok := l.names[s]; ok {
		return known
	}
	if l.names == nil {
		l.names = map[string]string{}
	}
	l.names[s] = s
	return s
}

// overrun says that there was no room for something.
func (l *tracelog) overrun() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost.overruns++
}

// snapshot returns the messages so far, which later ones do not change, and what is missing among them.
func (l *tracelog) snapshot() (kept []tracedAt, heard bool, lost lostSteps) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept[:len(l.kept):len(l.kept)], l.heard, l.lost
}

func (t traced) isOurs() bool { return t.Table == ours.Table }

// begins reports whether the message is that of the rule by which netnsenv has a packet traced.
func (t traced) begins() bool {
	return t.isOurs() && strings.HasPrefix(t.Chain, ours.TracePrefix) && t.Type == nfnl.TraceRule && t.Handle != 0
}

// isEnd reports whether the message says no more than that a chain has no further rule, as the kernel does before it tells
// the policy or the return (net/netfilter/nf_tables_core.c, nft_do_chain).
func (t traced) isEnd() bool {
	return t.Type == nfnl.TraceRule && t.Handle == 0 && t.Verdict == nfnl.VerdictContinue
}
