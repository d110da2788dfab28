package observe

import (
	"cmp"
	"slices"
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

// maxGets is the largest number of entries to request one by one: about half the time of a dump.
const maxGets = 500

// after returns the entries that exist after the events of all pieces. Each call must pass the pieces of the previous one and
// further ones. ok is false if events are missing, if reading them is not worthwhile, or if the entries are more than maxGets.
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
	if len(l.entries) > maxGets {
		return nil, false, nil
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

// sortFlows orders entries by their tuples. It sorts their numbers, and moves each of the entries, which are large, once.
func sortFlows(entries []nf.Entry) {
	order := make([]int32, len(entries))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(i, j int32) int { return compareFlows(&entries[i], &entries[j]) })
	for i := range order { // along each cycle: entry order[i] belongs at i
		if order[i] == int32(i) {
			continue
		}
		first, at := entries[i], int32(i)
		for order[at] != int32(i) {
			from := order[at]
			entries[at], order[at] = entries[from], at
			at = from
		}
		entries[at], order[at] = first, at
	}
}

func compareFlows(a, b *nf.Entry) int {
	if c := compareTuples(&a.Orig, &b.Orig); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.ZoneDir, b.ZoneDir), cmp.Compare(a.ID, b.ID))
}

// byExpected orders expectations.
func byExpected(a, b nf.Expectation) int {
	return cmp.Or(
		compareTuples(&a.Master, &b.Master),
		compareTuples(&a.Tuple, &b.Tuple),
		cmp.Compare(a.Zone, b.Zone),
		cmp.Compare(a.ID, b.ID),
	)
}

func compareTuples(a, b *nf.Tuple) int {
	if c := cmp.Compare(a.Proto, b.Proto); c != 0 {
		return c
	}
	if c := a.Src.Compare(b.Src); c != 0 {
		return c
	}
	if c := a.Dst.Compare(b.Dst); c != 0 {
		return c
	}
	return cmp.Or(
		cmp.Compare(a.ICMP.Type, b.ICMP.Type),
		cmp.Compare(a.ICMP.Code, b.ICMP.Code),
		cmp.Compare(a.ICMP.ID, b.ICMP.ID),
	)
}
