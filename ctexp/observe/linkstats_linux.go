package observe

import (
	"cmp"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/links"
	"github.com/ctexp/go-ctexp/internal/ours"
	"github.com/ctexp/go-ctexp/internal/queues"
)

// linkDrops returns how many packets each link and each queueing discipline has dropped on their way out since it was
// created, sorted. The far ends of our own links are omitted: Fence reports what they drop.
func linkDrops(s *queues.Links) ([]LinkDrop, error) {
	onLinks, err := s.TxDropped()
	if err != nil {
		return nil, err
	}
	qdiscs, err := s.Qdiscs()
	if err != nil {
		return nil, err
	}
	var drops []LinkDrop
	names := links.Names{} // not kept, because links may be renamed
	add := func(index int32, d LinkDrop) {
		if d.Link = names.Name(s.FD(), index); d.Packets > 0 && !strings.HasPrefix(d.Link, ours.FarPrefix) {
			drops = append(drops, d)
		}
	}
	for _, l := range onLinks {
		add(l.Link, LinkDrop{Kind: CauseFarEnd, Counter: "tx_dropped", Packets: l.Packets})
	}
	for _, q := range qdiscs {
		add(q.Link, LinkDrop{Kind: CauseQdisc, Counter: q.Kind + " dropped", Packets: q.Dropped})
	}
	slices.SortFunc(drops, func(a, b LinkDrop) int { return cmp.Or(cmp.Compare(a.Link, b.Link), cmp.Compare(a.Counter, b.Counter)) })
	return drops, nil
}

// linkFilters returns what is attached to the links of the namespace, whose thread it must be called on. The far ends of our own links are
// omitted.
func linkFilters(s *queues.Links) (all []LinkFilter, err error) {
	found, err := s.Filters()
	names := links.Names{}
	for _, f := range found {
		at := LinkFilter{Link: names.Name(s.FD(), f.Link), Hook: nf.Ingress, What: f.String()}
		if f.Egress {
			at.Hook = nf.Egress
		}
		if !strings.HasPrefix(at.Link, ours.FarPrefix) {
			all = append(all, at)
		}
	}
	return all, err
}

// holds returns how many packets are held back in the namespace. Their entries may not be confirmed yet, or be deleted
// already, and are counted but not listed.
func (o *Observer) holds() (packets int, err error) {
	qdiscs, err := o.links.Qdiscs()
	if err != nil {
		return 0, err
	}
	for _, q := range qdiscs {
		packets += int(q.Held)
	}
	err = o.ns.Do(func() error {
		all, err := queues.NFQueues()
		for _, q := range all {
			packets += int(q.Waiting)
		}
		return err
	})
	return packets, err
}
