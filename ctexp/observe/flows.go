package observe

import (
	"cmp"
	"fmt"
	"sync"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// livelist knows from the events which entries should be in the table. It reads them when somebody asks, and not at all
// where they are so many that a dump is cheaper.
type livelist struct {
	mu      sync.Mutex
	done    int // pieces that were read
	entries map[liveKey]struct{}
}

// liveKey names an entry.
type liveKey struct {
	orig nf.Tuple
	zone uint16 // that orig is looked up in
}

// maxCatchUp is how many events are read at most.
const maxCatchUp = 10_000

// after returns the entries that are there after the events of all pieces, of which each call gives those of the one
// before and more. ok is false where that is not worth while or cannot be told.
func (l *livelist) after(pieces []eventPiece) (keys []liveKey, ok bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, p := range pieces[l.done:] {
		if n += p.events; n > maxCatchUp || p.gap {
			return nil, false, nil
		}
	}
	for _, p := range pieces[l.done:] {
		for msg := range p.each {
			if err := l.read(msg); err != nil {
				return nil, false, err
			}
		}
		l.done++
	}
	for k := range l.entries {
		keys = append(keys, k)
	}
	return keys, true, nil
}

func (l *livelist) read(msg []byte) error {
	kind, _, err := nfnl.KindOf(msg)
	if err != nil || kind != nfnl.New && kind != nfnl.Destroy {
		return err
	}
	e, err := nfnl.DecodeEntry(nfnl.EventBody(msg))
	if err != nil || e.Zone == ours.FillerZone {
		return err
	}
	key := liveKey{e.Orig, e.ZoneOf(nf.Original)}
	switch {
	case kind == nfnl.Destroy:
		delete(l.entries, key)
	case l.entries == nil:
		l.entries = map[liveKey]struct{}{key: {}}
	default:
		l.entries[key] = struct{}{}
	}
	return nil
}

// byTuple is the order of flows.
func byTuple(a, b nf.Entry) int {
	return cmp.Or(
		compareTuples(a.Orig, b.Orig),
		cmp.Compare(a.Zone, b.Zone),
		cmp.Compare(a.ZoneDir, b.ZoneDir),
		cmp.Compare(a.ID, b.ID),
	)
}

// byExpected is the order of expectations.
func byExpected(a, b nf.Expectation) int {
	return cmp.Or(
		compareTuples(a.Master, b.Master),
		compareTuples(a.Tuple, b.Tuple),
		cmp.Compare(a.Zone, b.Zone),
		cmp.Compare(a.ID, b.ID),
	)
}

func compareTuples(a, b nf.Tuple) int {
	return cmp.Or(
		cmp.Compare(a.Proto, b.Proto),
		a.Src.Compare(b.Src),
		a.Dst.Compare(b.Dst),
		cmp.Compare(a.ICMP.Type, b.ICMP.Type),
		cmp.Compare(a.ICMP.Code, b.ICMP.Code),
		cmp.Compare(a.ICMP.ID, b.ICMP.ID),
	)
}

// before reports whether the release of a kernel, "5.10.262-1" say, is older than major.minor.
func kernelBefore(release string, major, minor int) bool {
	var a, b int
	if n, _ := fmt.Sscanf(release, "%d.%d", &a, &b); n != 2 {
		return false
	}
	return a < major || a == major && b < minor
}
