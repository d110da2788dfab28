package observe

import (
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Notes says, a line each, what of the path is no loss and should be known all the same: packets of the host's that have
// no entry, what conntrack says of packets that went on, and what the kernel says of those that it threw away.
func (p Path) Notes() []string {
	var notes []string
	for _, f := range []nf.Family{nf.IPv4, nf.IPv6} {
		for _, h := range []nf.Hook{nf.Input, nf.Postrouting} {
			if n := p.Answered[f].at(h); n > 0 {
				notes = append(notes, fmt.Sprintf("%v %v: %s", f, h, answeredText(n)))
			}
		}
	}
	for _, s := range p.remarks() {
		notes = append(notes, fmt.Sprintf("conntrack says %v", s))
	}
	for _, t := range p.Thrown {
		notes = append(notes, fmt.Sprintf("the kernel drops %v", t))
	}
	return notes
}
