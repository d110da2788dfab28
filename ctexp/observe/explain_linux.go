package observe

import (
	"context"
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// ExplainBy has the Path, the Record and the Timeline tell from now on why the kernel threw packets away, as src says it: what
// that has recorded since it was opened, which should be when the Observer was. Nil does without
// one.
//
// Of a silent host's own packets those are left out that rules have dropped before they had a link: they are what
// Path.Silenced counts.
func (o *Observer) ExplainBy(src DropSource) {
	o.dropsMu.Lock()
	defer o.dropsMu.Unlock()
	o.dropped = src
}

// thrownAway returns the drops, nil if nobody tells of them.
func (o *Observer) thrownAway(ctx context.Context) ([]nf.Dropped, error) {
	o.dropsMu.Lock()
	src := o.dropped
	o.dropsMu.Unlock()
	if src == nil {
		return nil, nil
	}
	drops := []nf.Dropped{}
	for d, err := range src.Drops(ctx) {
		if err != nil {
			return drops, fmt.Errorf("drops: %w", err)
		}
		if silenced := o.cfg.Silent && d.Link == "" && d.Reason == "NETFILTER_DROP"; !silenced {
			drops = append(drops, d)
		}
	}
	return drops, nil
}
