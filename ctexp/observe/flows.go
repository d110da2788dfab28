package observe

import (
	"cmp"
	"sync"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// livelist tracks, from the events, which entries the table should have. It reads the events on demand, and not at
// all if there are so many that a dump is cheaper.
type livelist struct {
	mu      sync.Mutex
	done    int // pieces read so far
	entries map[liveKey]struct{}
}

// liveKey identifies an entry.
type liveKey struct {
	orig nf.Tuple
	zone uint16 // in which orig is looked up
}

// maxCatchUp is the largest number of events that after reads.
const maxCatchUp = 10_000

// after returns the entries that exist after the events of all pieces. Each call must pass the pieces of the previous
// one and further ones. ok is false if reading them is not worthwhile or events are missing.
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
	if err != nil {
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

// byTuple orders entries.
func byTuple(a, b nf.Entry) int {
	return cmp.Or(
		compareTuples(a.Orig, b.Orig),
		cmp.Compare(a.Zone, b.Zone),
		cmp.Compare(a.ZoneDir, b.ZoneDir),
		cmp.Compare(a.ID, b.ID),
	)
}

// byExpected orders expectations.
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
