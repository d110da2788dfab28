package observe

import (
	"context"
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Path returns how many packets met each probe of Config.Path since the Observer was opened. Without such probes the
// error is an nf.UnsupportedError.
func (o *Observer) Path(ctx context.Context) (Path, error) {
	p, err := o.path(ctx)
	if err != nil {
		return Path{}, fmt.Errorf("path: %w", err)
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
	now, err := o.read()
	if err != nil {
		return Path{}, err
	}
	st := now.stats.sub(o.start.stats)
	p := Path{
		Silenced: o.since(now, nf.Silenced),
		Dropped:  st.dropped, Invalid: st.invalid, InsertFailed: st.insertFailed, ICMPErrors: st.icmpErrors,
	}
	if o.reasons != nil {
		if err := o.reasons.drain(); err != nil {
			return Path{}, err
		}
		p.Reasons = o.reasons.log.counts()
	}
	for _, probe := range o.cfg.Path {
		probe.Name = name(probe)
		p.Points = append(p.Points, Point{Probe: probe, Packets: o.since(now, probe.Name)})
	}
	return p, nil
}
