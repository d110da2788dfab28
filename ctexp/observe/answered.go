package observe

import (
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Answered counts errors of ICMP and RSTs that the host has sent about packets without a confirmed entry: they belong to
// the entry to be, in the reply direction, and are passed by at the confirmation (net/netfilter/nf_conntrack_core.c,
// nf_conntrack_attach and __nf_conntrack_confirm).
type Answered struct{ Input, Postrouting uint64 }

func (a Answered) at(h nf.Hook) uint64 {
	switch h {
	case nf.Input:
		return a.Input
	case nf.Postrouting:
		return a.Postrouting
	}
	return 0
}

// answeredText says what n of them are.
func answeredText(n uint64) string {
	return fmt.Sprintf("%d without an entry, not lost: what the host says of packets that have none (ICMP errors, RSTs)", n)
}

func subAnswered(after, before map[nf.Family]Answered) map[nf.Family]Answered {
	if after == nil {
		return nil
	}
	d := map[nf.Family]Answered{}
	for f, a := range after {
		b := before[f]
		if a.Input, a.Postrouting = monus(a.Input, b.Input), monus(a.Postrouting, b.Postrouting); a != (Answered{}) {
			d[f] = a
		}
	}
	return d
}

func subArrived(after, before map[nf.Family]uint64) map[nf.Family]uint64 {
	if after == nil {
		return nil
	}
	d := map[nf.Family]uint64{}
	for f, n := range after {
		d[f] = monus(n, before[f])
	}
	return d
}
