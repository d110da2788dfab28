package observe

import (
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// snapshot is all that counts at one moment.
type snapshot struct {
	packets   map[string]uint64 // by probe
	stats     Stats
	entries   int
	destroyed uint64 // entries that left unasked, the evicted ones among them
}

// maxRereads bounds how often a snapshot is begun anew.
const maxRereads = 8

// read takes a snapshot. The garbage collector may strike at any time: where an entry left while the rest was read,
// the rest is read again, lest the entry be missing in one number and not in another.
func (o *Observer) read() (s snapshot, err error) {
	if err := o.checkLimit(); err != nil {
		return s, err
	}
	for range maxRereads {
		if err := o.readDestroyed(&s); err != nil {
			return s, err
		}
		before := s.destroyed
		if s.packets, err = o.readPackets(); err != nil {
			return s, err
		}
		if s.stats, err = readKnownStats(o.table); err != nil {
			return s, err
		}
		if s.entries, err = o.countEntries(); err != nil {
			return s, err
		}
		if err := o.readDestroyed(&s); err != nil {
			return s, err
		}
		if s.destroyed == before {
			break
		}
	}
	return s, nil
}

// checkLimit returns ErrLimitChanged if the limit is not what the Config says.
func (o *Observer) checkLimit() error {
	if o.cfg.Limit == 0 {
		return nil
	}
	limit, err := o.limit.read()
	if err != nil {
		return err
	}
	if limit != o.cfg.Limit {
		return fmt.Errorf("%w: it was %d and is %d", ErrLimitChanged, o.cfg.Limit, limit)
	}
	return nil
}

func (o *Observer) readDestroyed(s *snapshot) (err error) {
	s.destroyed, err = o.events.unasked()
	return err
}

// readPackets reads the counts of all probes that the Config promises.
func (o *Observer) readPackets() (map[string]uint64, error) {
	if len(o.cfg.Probes) == 0 && len(o.cfg.Path) == 0 {
		return nil, nil
	}
	packets, err := readProbes(o.table)
	if err != nil {
		return nil, err
	}
	for _, probes := range [][]nf.Probe{o.cfg.Probes, o.cfg.Path} {
		for _, p := range probes {
			if _, ok := packets[name(p)]; !ok {
				return nil, lostProbe{name(p)}
			}
		}
	}
	return packets, nil
}

// lostProbe is ErrProbeLost with the probe's name.
type lostProbe struct{ name string }

func (e lostProbe) Error() string        { return fmt.Sprintf("%v: %s", ErrProbeLost, e.name) }
func (e lostProbe) Is(target error) bool { return target == ErrProbeLost }

// countEntries counts the entries of the table. The filler is among them, which falls out of the difference of two
// counts; unless it can be evicted: then the others are counted one by one.
func (o *Observer) countEntries() (int, error) {
	if !o.cfg.Unreplied {
		return o.entries.read()
	}
	l, err := o.dump(nf.Filter{})
	return len(l.entries), err
}
