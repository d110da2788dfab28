package observe

import (
	"context"
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Tally returns what was counted since the Observer was opened.
//
// It returns ErrLimitChanged, ErrEventsLost or ErrProbeLost rather than numbers that cannot be relied on.
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
	now, err := o.read()
	if err != nil {
		return Tally{}, err
	}
	st := now.stats.Sub(o.start.stats)
	t := Tally{
		Packets:      make(map[string]uint64, len(o.cfg.Probes)),
		Entries:      now.entries - o.start.entries,
		Dropped:      st.Drop,
		Evicted:      st.EarlyDrop,
		Collected:    saturatingSub(now.destroyed-o.start.destroyed, st.EarlyDrop),
		Invalid:      st.Invalid,
		InsertFailed: st.InsertFailed,
		Law:          Law{Silent: o.cfg.Silent, Free: o.cfg.Free, Unreplied: o.cfg.Unreplied},
	}
	if o.cfg.Filler == 0 {
		t.Law.Free = -1
	}
	if o.cfg.Unreplied {
		// The entries of such a filler are evicted without an event: the events are those of other entries.
		t.Collected = now.destroyed - o.start.destroyed
	}
	for _, p := range o.cfg.Probes {
		t.Packets[name(p)] = o.since(now, name(p))
		if p.BehindConntrack() {
			t.Law.BehindConntrack = append(t.Law.BehindConntrack, name(p))
		}
	}
	t.Law.Before, t.Law.Known = o.both(now, lawProbes.before)
	behind, known := o.both(now, lawProbes.behind)
	t.Law.Behind, t.Law.Known = behind, t.Law.Known && known
	output, known := o.both(now, lawProbes.output)
	t.Law.Output, t.Law.Known = output, t.Law.Known && known
	return t, nil
}

// since returns how many packets met a probe since the Observer was opened.
func (o *Observer) since(now snapshot, name string) uint64 {
	return saturatingSub(now.packets[name], o.start.packets[name])
}

// both returns the packets of both families at a standard probe, and whether that of IPv4 is there at all.
func (o *Observer) both(now snapshot, p nf.Probe) (packets uint64, known bool) {
	known = o.promised(p)
	for _, p := range []nf.Probe{p, p.IPv6()} {
		if o.promised(p) {
			packets += o.since(now, p.Name)
		}
	}
	return packets, known
}

// promised reports whether the Config has a probe.
func (o *Observer) promised(p nf.Probe) bool {
	for _, probes := range [][]nf.Probe{o.cfg.Path, o.cfg.Probes} {
		for _, q := range probes {
			if p == q {
				return true
			}
		}
	}
	return false
}
