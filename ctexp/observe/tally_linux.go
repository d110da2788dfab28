package observe

import (
	"context"
	"fmt"
	"maps"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/ours"
	"github.com/ctexp/go-ctexp/internal/ruleset"
)

// Tally returns what was counted since the Observer was opened. It returns ErrLimitChanged, ErrFillerLost,
// ErrEventsLost or ErrProbeLost if the numbers would not be reliable.
func (o *Observer) Tally(ctx context.Context) (Tally, error) {
	t, err := o.tally(ctx)
	if err != nil {
		return Tally{}, fmt.Errorf("tally: %w", err)
	}
	return t, nil
}

func (o *Observer) tally(ctx context.Context) (Tally, error) {
	release, err := o.use(ctx)
	if err != nil {
		return Tally{}, err
	}
	defer release()
	if err := o.sealedCounts(); err != nil {
		return Tally{}, err
	}
	now, err := o.read()
	if err != nil {
		return Tally{}, err
	}
	st := now.stats.Sub(o.start.stats)
	if err := o.fillerIsThere(now.entries, st.EarlyDrop); err != nil {
		return Tally{}, err
	}
	t := Tally{
		Packets: make(map[string]uint64, len(o.cfg.Probes)),
		Entries: now.entries - o.start.entries,
		Law:     Law{Silent: o.cfg.Silent, Free: o.cfg.Free, Unreplied: o.cfg.Unreplied, Reading: o.nextReading()},
	}
	t.Ended, t.Collected = o.ends(now.ended.sub(o.start.ended), st.EarlyDrop)
	stats := maps.Collect(st.All())
	for _, c := range t.counts() {
		if c.stat != "" {
			*c.n = stats[c.stat]
		}
	}
	if t.Law.AnyAct = o.acted == nil || o.anyAct.Load(); o.acted != nil {
		t.Law.Acted = o.acted()
	}
	switch {
	case o.cfg.Filler == 0:
		t.Law.Free = -1
	case !o.cfg.Unreplied:
		t.Law.Room, t.Law.Buckets = o.cfg.Free, o.buckets
	}
	for _, p := range o.cfg.Probes {
		t.Packets[probeName(p)] = o.since(now, probeName(p))
		if p.BehindConntrack() {
			t.Law.BehindConntrack = append(t.Law.BehindConntrack, probeName(p))
		}
	}
	t.Law.Before, t.Law.Known = o.ofAllFamilies(now, lawProbes.before)
	behind, known := o.ofAllFamilies(now, lawProbes.behind)
	t.Law.Behind, t.Law.Known = behind, t.Law.Known && known
	output, known := o.ofAllFamilies(now, lawProbes.output)
	t.Law.Output, t.Law.Known = output, t.Law.Known && known
	return t, nil
}

// fillerIsThere returns ErrFillerLost if more entries of an un-replied filler are gone than were evicted. The table has that
// many entries beside the filler.
func (o *Observer) fillerIsThere(entries int, evicted uint64) error {
	if o.cfg.Filler == 0 || !o.cfg.Unreplied {
		return nil
	}
	all, err := o.entries.read()
	if err != nil {
		return err
	}
	if gone := o.cfg.Filler - (all - entries); gone > int(evicted) {
		return fmt.Errorf("%w: %d of %d are gone, and %d were evicted", ErrFillerLost, gone, o.cfg.Filler, evicted)
	}
	return nil
}

// ends says what removed the entries of c, of which evicted were evicted.
func (o *Observer) ends(c endCounts, evicted uint64) (e Ended, collected uint64) {
	e, collected = c.Ended, c.early
	timedOut := &e.TimedOut
	if o.events.ends.untold {
		timedOut = &e.Untold
	}
	e.Aged = min(o.aged.Load(), *timedOut)
	*timedOut -= e.Aged
	if o.cfg.Filler > 0 && o.cfg.Unreplied {
		return e, collected // the entries of such a filler are evicted without an event, so all events are about other entries
	}
	e.Untold = saturatingSub(e.Untold, evicted)
	return e, saturatingSub(collected, evicted)
}

// sealedCounts checks what the counts of a Tally depend on, beside what read checks. If events were off from the
// beginning, a Tally goes without what is counted by them.
func (o *Observer) sealedCounts() error {
	if err := o.seal.intact(eventSwitches); err != nil {
		return err
	}
	if err := o.checkEventMask(); err != nil {
		return err
	}
	return o.checkLinks()
}

// wasFull reports whether the table stood at 95 % or more of its limit before so many entries were removed
// (net/netfilter/nf_conntrack_core.c, gc_worker, nf_conntrack_max95).
func (o *Observer) wasFull(ended int) bool {
	limit, lerr := o.limit.read()
	n, nerr := o.entries.read()
	return lerr == nil && nerr == nil && limit > 0 && n+ended >= limit/100*95
}

// NoteAged tells the Observer that Age has ended n entries, whose events are the same as if they had timed out. A Lab
// calls it.
func (o *Observer) NoteAged(n int) { o.aged.Add(uint64(n)) }

// since returns how many packets met a probe since the Observer was opened.
func (o *Observer) since(now snapshot, name string) uint64 {
	return saturatingSub(now.packets[name], o.start.packets[name])
}

// ofAllFamilies returns the packets of all families at a standard probe of IPv4. known says whether the IPv4 probe is
// configured.
func (o *Observer) ofAllFamilies(now snapshot, p nf.Probe) (packets uint64, known bool) {
	known = o.configured(p)
	for _, f := range nf.Families() {
		if p := p.Of(f); o.configured(p) {
			packets += o.since(now, p.Name)
		}
	}
	return packets, known
}

// configured reports whether the Config has a probe.
func (o *Observer) configured(p nf.Probe) bool {
	for _, probes := range [][]nf.Probe{o.cfg.Path, o.cfg.Probes} {
		for _, q := range probes {
			if p == q {
				return true
			}
		}
	}
	return false
}

// snapshot has all counts at one moment.
type snapshot struct {
	packets map[string]uint64 // by probe
	stats   Stats
	entries int
	ended   endCounts
}

// maxRereads is how often read tries to get a consistent snapshot.
const maxRereads = 8

// read takes a snapshot. The garbage collector may run at any time: if an entry was removed while the rest was read,
// the rest is read again, so that all numbers agree about that entry.
func (o *Observer) read() (s snapshot, err error) {
	if err := o.checkLimit(); err != nil {
		return s, err
	}
	for range maxRereads {
		before, err := o.events.ended()
		if err != nil {
			return s, err
		}
		if s.packets, err = o.readPackets(); err != nil {
			return s, err
		}
		if s.stats, err = readKnownStats(o.table); err != nil {
			return s, err
		}
		if s.entries, err = o.countEntries(); err != nil {
			return s, err
		}
		if s.ended, err = o.events.ended(); err != nil {
			return s, err
		}
		if s.ended == before {
			break
		}
	}
	return s, nil
}

// readPackets reads the counts of all probes, and fails if one of the Config is missing.
func (o *Observer) readPackets() (map[string]uint64, error) {
	if len(o.cfg.Probes) == 0 && len(o.cfg.Path) == 0 {
		return nil, nil
	}
	counters, err := ruleset.Counters(o.table, unix.NFPROTO_INET, ours.Table)
	if err != nil {
		return nil, err
	}
	if err := o.seal.count("", counters); err != nil {
		return nil, err
	}
	packets := make(map[string]uint64, len(counters))
	for _, c := range counters {
		packets[c.Name] = c.Packets
	}
	for _, probes := range [][]nf.Probe{o.cfg.Probes, o.cfg.Path} {
		for _, p := range probes {
			if _, ok := packets[probeName(p)]; !ok {
				return nil, lostProbe{probeName(p)}
			}
		}
	}
	return packets, nil
}

// lostProbe is ErrProbeLost with the name of the probe. On a kernel that does not protect the probes it is also an
// nf.UnsupportedError.
type lostProbe struct{ name string }

func (e lostProbe) Error() string {
	s := fmt.Sprintf("%v: %s", ErrProbeLost, e.name)
	if lack := e.Unwrap(); lack != nil {
		s += fmt.Sprintf(": \"flush ruleset\" deletes it; %v", lack)
	}
	return s
}

func (e lostProbe) Is(target error) bool { return target == ErrProbeLost }
func (e lostProbe) Unwrap() error        { return kernel.OwnedTables.Lack() }

// countEntries counts the entries of the table. It includes the filler, which cancels out in the difference of two
// counts, unless the filler can be evicted: then it counts the other entries one by one.
func (o *Observer) countEntries() (int, error) {
	if !o.cfg.Unreplied {
		return o.entries.read()
	}
	return o.countListed(context.Background())
}
