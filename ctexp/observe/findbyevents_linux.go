package observe

import (
	"errors"
	"io/fs"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// maxGets is how many entries are asked for one by one at most, in the time of half a dump.
const maxGets = 500

// findByEvents is dump without a walk of the table: it asks for the entries whose events were heard. The kernel's count
// tells whether these are all; if not, or where it cannot tell, ok is false.
func (o *Observer) findByEvents(f nf.Filter) (l found, ok bool, err error) {
	if o.cfg.NoEvents || o.events.missing != nil || o.cfg.Unreplied {
		return l, false, nil
	}
	if err := o.events.Drain(); err != nil {
		return l, false, nil // who needs the events hears of it
	}
	pieces, lost := o.events.log.snapshot()
	if lost != (lostEvents{}) {
		return l, false, nil
	}
	keys, ok, err := o.live.after(pieces)
	if err != nil || !ok || len(keys) > maxGets {
		return l, false, err
	}
	if n, err := o.entries.read(); err != nil || n-o.cfg.Filler > len(keys) {
		return l, false, err
	}
	return o.getAll(keys, f)
}

// getAll asks for entries.
func (o *Observer) getAll(keys []liveKey, f nf.Filter) (l found, ok bool, err error) {
	there := 0
	for _, k := range keys {
		e, unknown, err := o.table.GetWhole(k.orig, k.zone)
		switch {
		case errors.Is(err, fs.ErrNotExist): // its time was over
			continue
		case err != nil:
			return found{}, false, err
		case e.Orig != k.orig: // one is gone, and another's answers have its tuple
			continue
		}
		there++
		if f.Match(e) && !o.hidden(e, f) {
			l.add(e, unknown)
		}
	}
	n, err := o.entries.read()
	return l, n-o.cfg.Filler == there, err
}

// hidden reports whether a dump would leave an entry out, as it does the filler.
func (o *Observer) hidden(e nf.Entry, f nf.Filter) bool {
	return e.Zone == ours.FillerZone ||
		o.cfg.Filler > 0 && f.Zone == nil && !f.StatusMask.Has(nf.FixedTimeout) && e.Status.Has(nf.FixedTimeout)
}
