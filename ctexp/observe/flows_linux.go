package observe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// Flows returns the entries that f selects, in no particular order, each as it was when the iteration came to it. It never
// returns the filler. With a filler, entries that a user created with FIXED_TIMEOUT are returned only if the filter asks for
// this bit or for a zone, because the kernel omits them together with the filler.
//
// If all entries are known from their events or from /proc/net/nf_conntrack and are at most 500, or f selects a tuple and the
// zones of all entries are known from their events, Flows requests entries one by one, 10 µs each. Otherwise the kernel walks the hash table of the whole host:
// 10 ms for 262,144 buckets, 60 ms with a filler. The entries are decoded while they are read, so that Flows takes the same
// memory whatever their number. The kernel selects by family, mark, status (since 5.15) and zone (since 6.8); Flows checks the
// rest. All ways remove the timed-out entries that they meet.
//
// Only at the end can Flows tell whether the kernel counts as many entries as there were (Config.Exclusive); if not, the last
// error is ErrHidden. Attributes that this package does not know, as later kernels may add, are skipped and reported as the
// error at the end.
func (o *Observer) Flows(ctx context.Context, f nf.Filter) iter.Seq2[nf.Entry, error] {
	return func(yield func(nf.Entry, error) bool) {
		unknown, err := o.eachFlow(ctx, f, func(e nf.Entry) bool { return yield(e, nil) })
		if err == nil && unknown != nil {
			err = unknown
		}
		if err != nil && err != errStop {
			yield(nf.Entry{}, fmt.Errorf("flows: %w", err))
		}
	}
}

// SortedFlows returns the entries that Flows returns, ordered by their original tuples. While the kernel's count disagrees with
// them, it reads them again. With the error about an unknown attribute it returns all entries.
func (o *Observer) SortedFlows(ctx context.Context, f nf.Filter) ([]nf.Entry, error) {
	if err := f.Check(); err != nil {
		return nil, fmt.Errorf("flows: %w", err)
	}
	l, ok, err := o.findFew(ctx, f)
	if err == nil && !ok {
		l, err = o.dumpWhole(ctx, f)
	}
	if err == nil {
		err = o.seal.spared()
	}
	if err != nil {
		return nil, fmt.Errorf("flows: %w", err)
	}
	sortFlows(l.entries)
	if l.unknown != nil {
		err = fmt.Errorf("flows: %w", l.unknown)
	}
	return l.entries, err
}

// eachFlow calls yield for the entries that f selects. It returns errStop after yield has returned false.
func (o *Observer) eachFlow(ctx context.Context, f nf.Filter, yield func(nf.Entry) bool) (*nfnl.UnknownError, error) {
	if err := f.Check(); err != nil {
		return nil, err
	}
	few, ok, err := o.findFew(ctx, f)
	if err != nil {
		return nil, err
	}
	if !ok {
		return o.stream(ctx, f, yield)
	}
	sortFlows(few.entries)
	for _, e := range few.entries {
		if err := o.interrupted(ctx); err != nil {
			return nil, err
		}
		if !yield(e) {
			return nil, errStop
		}
	}
	return few.unknown, nil
}

// findFew finds entries without a walk of the table. ok is false if that is not possible, or takes longer.
func (o *Observer) findFew(ctx context.Context, f nf.Filter) (l found, ok bool, err error) {
	release, err := o.use(ctx)
	if err != nil {
		return found{}, false, err
	}
	defer release()
	if err := o.whole(entrySwitches); err != nil {
		return found{}, false, err
	}
	switch {
	case f.Zone != nil && o.isFiller(*f.Zone), o.isEmpty():
		ok = true
	case f.Tuple != (nf.Tuple{}):
		l, ok, err = o.findTuple(f)
	default:
		if l, ok, err = o.findByEvents(f); err == nil && !ok {
			l, ok, err = o.findByProc(f)
		}
	}
	if err == nil {
		err = o.seal.spared()
	}
	return l, ok, err
}

// isEmpty reports whether the table has no entries. With a filler the count cannot tell: others may be in the place of some
// that the filler has lost.
func (o *Observer) isEmpty() bool {
	n, err := o.entries.read()
	return err == nil && n == 0 && o.cfg.Filler == 0
}

// findTuple requests the entries that have a tuple from each zone in which they can be. A zone has at most one: the kernel
// inserts no entry if one of its tuples exists in either direction (nf_conntrack_core.c, nf_conntrack_hash_check_insert).
func (o *Observer) findTuple(f nf.Filter) (l found, ok bool, err error) {
	zones := []uint16{0}
	if f.Zone != nil {
		zones = append(zones, *f.Zone) // of an entry, one of whose tuples may be in zone 0
	} else if known, ok := o.zones(); ok {
		zones = append(zones, known...)
	} else {
		return l, false, nil
	}
	slices.Sort(zones)
	for _, zone := range slices.Compact(zones) {
		if err := o.spare(zone); err != nil {
			return l, false, err
		}
		e, unknown, err := o.table.GetWhole(f.Tuple, zone)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return found{}, false, nil // the kernel looks for no such tuple, but may list it
		case f.Match(e) && !o.hidden(&e, f):
			l.add(e, unknown)
		}
	}
	return l, true, nil
}

// stream calls yield for each entry that f selects while the kernel lists them.
func (o *Observer) stream(ctx context.Context, f nf.Filter, yield func(nf.Entry) bool) (unknown *nfnl.UnknownError, err error) {
	before, err := o.entries.read()
	if err != nil {
		return nil, err
	}
	listed := 0
	err = o.dump(ctx, f, func(e *nf.Entry, u *nfnl.UnknownError) error {
		listed++
		unknown = cmp.Or(unknown, u)
		if err := o.interrupted(ctx); err != nil {
			return err
		}
		if !yield(*e) {
			return errStop
		}
		return nil
	})
	if err == nil {
		err = o.agrees(ctx, f, before, listed)
	}
	if err == nil {
		err = o.seal.spared()
	}
	return unknown, err
}

// agrees returns an error unless the kernel counts as many entries as were listed. Counted are also those that have timed out,
// until a list meets them, and those of packets that wait: if the count differs, the list is read again.
func (o *Observer) agrees(ctx context.Context, f nf.Filter, before, listed int) error {
	if !o.counts(f) {
		return nil
	}
	release, err := o.use(ctx)
	if err != nil {
		return err
	}
	defer release()
	first, again := before, listed
	for range maxRereads {
		counted, err := o.entries.read()
		if err != nil {
			return err
		}
		if counted == before && counted-o.cfg.Filler == again { // if it has changed meanwhile, that they agree is chance
			if again > listed && counted == first {
				return fmt.Errorf("%w: %d were listed first, and then %d", ErrHidden, listed, again)
			}
			return nil
		}
		before = counted
		if again, err = o.countListed(ctx); err != nil {
			return err
		}
	}
	return o.disagreement(before, again)
}

// counts reports whether the kernel's count of the table must agree with the entries that f selects. It cannot if f selects
// some of the entries or the filler may be evicted.
func (o *Observer) counts(f nf.Filter) bool {
	return o.cfg.Exclusive && !o.cfg.Unreplied && f == (nf.Filter{})
}

// disagreement returns an error if the kernel counts other entries than are listed. It cannot tell if entries have come and
// gone since the count before.
func (o *Observer) disagreement(before, listed int) error {
	counted, err := o.entries.read()
	if err != nil {
		return err
	}
	held, err := o.holds()
	if more := counted - o.cfg.Filler - listed; err != nil || before != counted || more >= 0 && more <= held {
		return err
	}
	why := ""
	if o.cfg.Filler > 0 {
		why = fmt.Sprintf("; zone %d belongs to the filler of the Room: does a rule put packets there?", ours.FillerZone)
	}
	return fmt.Errorf("%w: the kernel counts %d, and %d are listed%s", ErrHidden, counted-o.cfg.Filler, listed, why)
}

// dumpWhole returns the entries that f selects. While the kernel counts others than there are, it lists them again.
func (o *Observer) dumpWhole(ctx context.Context, f nf.Filter) (l found, err error) {
	release, err := o.use(ctx)
	if err != nil {
		return l, err
	}
	defer release()
	before := 0
	for range maxRereads {
		if before, err = o.entries.read(); err != nil {
			return l, err
		}
		l = found{}
		if o.counts(f) {
			l.entries = make([]nf.Entry, 0, max(0, before-o.cfg.Filler))
		}
		err := o.dump(ctx, f, func(e *nf.Entry, unknown *nfnl.UnknownError) error {
			l.add(*e, unknown)
			return nil
		})
		if err != nil || !o.counts(f) {
			return l, err
		}
		counted, err := o.entries.read()
		if err != nil || counted == before && counted-o.cfg.Filler == len(l.entries) {
			return l, err
		}
	}
	return l, o.disagreement(before, len(l.entries))
}

// dump calls each for the entries that f selects, without the filler, in the order of the kernel's hash table. each must not
// retain the entry, into which the next one is decoded.
func (o *Observer) dump(ctx context.Context, f nf.Filter, each func(e *nf.Entry, unknown *nfnl.UnknownError) error) error {
	var e nf.Entry
	all := f == (nf.Filter{})
	return o.lists.Walk(nfnl.DumpEntries(f, o.cfg.Filler > 0), func(body []byte, at int) error {
		unknown, err := nfnl.DecodeInto(&e, body, at)
		if err != nil {
			return fmt.Errorf("dump conntrack table: %w", err)
		}
		if !all && !f.Match(e) || o.hidden(&e, f) {
			return nil
		}
		return each(&e, unknown)
	}, func() error { return o.interrupted(ctx) })
}

// countListed returns how many entries are listed, without the filler.
func (o *Observer) countListed(ctx context.Context) (n int, err error) {
	err = o.dump(ctx, nf.Filter{}, func(*nf.Entry, *nfnl.UnknownError) error {
		n++
		return nil
	})
	return n, err
}

// isFiller reports whether the entries of a zone are those of the filler.
func (o *Observer) isFiller(zone uint16) bool { return o.cfg.Filler > 0 && zone == ours.FillerZone }

// spare returns an error for an event of an entry in the filler's zone. The filler itself has no events: the entry is one
// of the experiment, and Flows cannot tell it from the filler.
func (o *Observer) spare(zone uint16) error {
	if !o.isFiller(zone) {
		return nil
	}
	err := fmt.Errorf("%w: an entry of the experiment is in zone %d, which belongs to the filler of the Room", ErrHidden, zone)
	o.seal.breaks(err)
	return err
}

// found is a list of entries with the first unknown attribute or value in them.
type found struct {
	entries []nf.Entry
	unknown *nfnl.UnknownError
}

func (l *found) add(e nf.Entry, unknown *nfnl.UnknownError) {
	l.entries = append(l.entries, e)
	l.unknown = cmp.Or(l.unknown, unknown)
}

// findByEvents does the same as dump without a walk of the table: it requests the entries that are known from events.
// ok is false if the kernel's count shows that these are not all, or if that cannot be determined.
func (o *Observer) findByEvents(f nf.Filter) (l found, ok bool, err error) {
	if o.cfg.NoEvents || o.events.missing != nil || o.cfg.Unreplied {
		return l, false, nil
	}
	if err := o.events.Drain(); err != nil {
		return l, false, nil // methods that need the events report it
	}
	pieces, lost := o.events.log.snapshot()
	if lost != (lostEvents{}) {
		return l, false, nil
	}
	keys, ok, err := o.live.after(pieces)
	if err != nil || !ok {
		return l, false, err
	}
	for _, k := range keys {
		if err := o.spare(k.zone); err != nil {
			return l, false, err
		}
	}
	if n, err := o.entries.read(); err != nil || n-o.cfg.Filler > len(keys) {
		return l, false, err
	}
	return o.getAll(keys, f)
}

// getAll requests entries one by one. ok is false if the table has others.
func (o *Observer) getAll(keys []liveKey, f nf.Filter) (l found, ok bool, err error) {
	there := 0
	for _, k := range keys {
		e, unknown, err := o.table.GetWhole(k.orig, k.zone)
		switch {
		case errors.Is(err, fs.ErrNotExist): // it timed out
			continue
		case err != nil:
			return found{}, false, err
		case e.Orig != k.orig: // it was removed, and the reply of another entry has its tuple
			continue
		}
		there++
		if f.Match(e) && !o.hidden(&e, f) {
			l.add(e, unknown)
		}
	}
	n, err := o.entries.read()
	return l, n-o.cfg.Filler == there, err
}

// hidden reports whether a dump would omit an entry as it omits the filler.
func (o *Observer) hidden(e *nf.Entry, f nf.Filter) bool {
	return o.isFiller(e.Zone) ||
		o.cfg.Filler > 0 && f.Zone == nil && !f.StatusMask.Has(nf.FixedTimeout) && e.Status.Has(nf.FixedTimeout)
}

// Get returns the entry that has t as its original or reply tuple and, in that direction, belongs to a zone. It takes
// 10 µs. If there is none, the error wraps fs.ErrNotExist. A timed-out entry is not found, and the lookup removes it.
func (o *Observer) Get(ctx context.Context, t nf.Tuple, zone uint16) (nf.Entry, error) {
	e, err := o.get(ctx, t, zone)
	if err != nil {
		return nf.Entry{}, fmt.Errorf("observer: %w", err)
	}
	return e, nil
}

func (o *Observer) get(ctx context.Context, t nf.Tuple, zone uint16) (nf.Entry, error) {
	release, err := o.use(ctx)
	if err != nil {
		return nf.Entry{}, err
	}
	defer release()
	if err := o.whole(entrySwitches); err != nil {
		return nf.Entry{}, err
	}
	if o.isFiller(zone) {
		return nf.Entry{}, fmt.Errorf("get entry %v %v of the filler's zone %d: %w", t.Proto, t, zone, fs.ErrNotExist)
	}
	e, unknown, err := o.table.GetWhole(t, zone)
	if err == nil && unknown != nil {
		err = unknown
	}
	return e, err
}

// Count returns how many entries the table has, without the filler. It is the kernel's own count, which includes
// unconfirmed entries and those that timed out but were not removed yet.
func (o *Observer) Count(ctx context.Context) (int, error) {
	n, err := o.countNow(ctx)
	if err != nil {
		return 0, fmt.Errorf("count entries: %w", err)
	}
	return n, nil
}

func (o *Observer) countNow(ctx context.Context) (int, error) {
	release, err := o.use(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	if err := o.whole(); err != nil {
		return 0, err
	}
	n, err := o.countEntries()
	if !o.cfg.Unreplied { // countEntries does not count such a filler
		n -= o.cfg.Filler
	}
	return n, err
}

// Expectations returns the expectations that helpers and rules ("ct expectation set") created, ordered by their
// masters.
func (o *Observer) Expectations(ctx context.Context) iter.Seq2[nf.Expectation, error] {
	return listOf(ctx, o, "expectations", func() ([]nf.Expectation, *nfnl.UnknownError, error) {
		var list []nf.Expectation
		var unknown *nfnl.UnknownError
		err := o.list(ctx, nfnl.DumpExpect, func(body []byte, at int) error {
			x, u, err := nfnl.DecodeWholeExpectation(body, at)
			list = append(list, x)
			unknown = cmp.Or(unknown, u)
			return err
		})
		slices.SortFunc(list, byExpected)
		return list, unknown, err
	})
}

// Dying returns the entries that were removed from the table but whose DESTROY event is still to be delivered to a
// listener that requires delivery (NETLINK_BROADCAST_ERROR), such as conntrackd; before Linux 5.19 also those about
// to be freed. They are ordered by their tuples.
func (o *Observer) Dying(ctx context.Context) iter.Seq2[nf.Entry, error] {
	return o.entriesOf(ctx, "dying", nfnl.DumpDying, func(int) error { return nil })
}

// Unconfirmed returns the entries that were not confirmed yet, because their packet is in a queue for instance. Linux
// 5.19 removed the list (8a75a2c17410 "netfilter: conntrack: remove unconfirmed list"); there the error is an
// nf.UnsupportedError.
func (o *Observer) Unconfirmed(ctx context.Context) iter.Seq2[nf.Entry, error] {
	return o.entriesOf(ctx, "unconfirmed", nfnl.DumpUnconfirmed, func(n int) error {
		if n > 0 {
			return nil
		}
		return kernel.UnconfirmedList.Lack() // an empty list and a missing one look the same
	})
}

// entriesOf returns one of the kernel's lists of entries, in order. check gets the number of its entries.
func (o *Observer) entriesOf(ctx context.Context, what string, d nfnl.Dump, check func(n int) error) iter.Seq2[nf.Entry, error] {
	return listOf(ctx, o, what, func() ([]nf.Entry, *nfnl.UnknownError, error) {
		var l found
		n := 0
		err := o.list(ctx, d, func(body []byte, at int) error {
			n++
			e, unknown, err := nfnl.DecodeWhole(body, at)
			if !o.isFiller(e.Zone) {
				l.add(e, unknown)
			}
			return err
		})
		if err == nil {
			err = check(n)
		}
		sortFlows(l.entries)
		return l.entries, l.unknown, err
	})
}

// list reads one of the kernel's lists.
func (o *Observer) list(ctx context.Context, d nfnl.Dump, each func(body []byte, at int) error) error {
	release, err := o.use(ctx)
	if err != nil {
		return err
	}
	defer release()
	return o.table.Dump(d, each)
}

// listOf yields the list that read returns, and then the first unknown attribute or value in it as an error.
func listOf[T any](ctx context.Context, o *Observer, what string, read func() ([]T, *nfnl.UnknownError, error)) iter.Seq2[T, error] {
	return iterate(ctx, o, what, func() (all iter.Seq[T], incomplete, err error) {
		list, unknown, err := read()
		if unknown != nil {
			incomplete = unknown
		}
		return slices.Values(list), incomplete, err
	})
}
