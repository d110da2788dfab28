package observe

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Path returns how many packets met each probe of Config.Path since the Observer was opened. Without such probes the
// error is an nf.UnsupportedError.
//
// Where the one who tells of packets that the kernel threw away (SetDropSource) has lost some, the error says so, and the Path has
// the rest. Where a rule may have dropped packets the user's rules are read, too (see Rules for what that costs).
func (o *Observer) Path(ctx context.Context) (Path, error) {
	p, err := o.path(ctx)
	if err != nil {
		return p, fmt.Errorf("path: %w", err)
	}
	return p, nil
}

func (o *Observer) path(ctx context.Context) (Path, error) {
	release, err := o.use(ctx)
	if err != nil {
		return Path{}, err
	}
	defer release()
	if len(o.cfg.Path) == 0 {
		return Path{}, &nf.UnsupportedError{Need: "probes of the path", Hint: "the namespace was made without them"}
	}
	arrived, err := o.readArrived() // before the probes, so that what comes meanwhile seems no loss
	if err != nil {
		return Path{}, err
	}
	now, err := o.read()
	if err != nil {
		return Path{}, err
	}
	st := now.stats.Sub(o.start.stats)
	p := Path{
		Silenced: o.since(now, nf.Silenced),
		Dropped:  st.Drop, Invalid: st.Invalid, InsertFailed: st.InsertFailed, ICMPErrors: st.Error,
		Arrived: subCounts(arrived, o.arrived), Attached: o.attached(now), InvalidPassed: o.invalidPassed(now),
	}
	if o.reasons != nil {
		if err := o.reasons.Drain(); err != nil {
			return Path{}, err
		}
		p.Reasons = o.reasons.log.counts()
	}
	for _, probe := range o.cfg.Path {
		probe.Name = name(probe)
		p.Points = append(p.Points, Point{Probe: probe, Packets: o.since(now, probe.Name)})
	}
	if p.MIB, err = o.mib.since(); err != nil {
		return Path{}, err
	}
	drops, lost := o.readDropSource(ctx)
	if drops != nil {
		p.KernelDrops = countDrops(drops)
	}
	losses := p.Losses()
	if slices.ContainsFunc(losses, func(l Loss) bool { return l.Hook == nf.Ingress }) {
		if p.MayBypassHooks, err = o.mayBypassHooks(); err != nil {
			return Path{}, err
		}
	}
	if slices.ContainsFunc(losses, Loss.mayBeByRule) {
		if p.Drops, err = o.drops(ctx); p.Drops == nil && err == nil {
			p.Drops = []Drop{}
		}
		if errors.Is(err, errors.ErrUnsupported) { // without the program that made the rules the path goes without them
			err = nil
		}
	}
	return p, errors.Join(err, lost)
}

// mayBeByRule reports whether a rule may have dropped some of the packets.
func (l Loss) mayBeByRule() bool {
	return slices.ContainsFunc(l.Causes, func(c Cause) bool { return c.Kind == CauseRule })
}
