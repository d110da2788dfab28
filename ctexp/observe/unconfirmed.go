package observe

import (
	"fmt"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// unconfirmed says why packets of a family had no entry in the table behind the confirmation. They need not be lost: all
// but those whose entry could not be inserted go on.
func (p Path) unconfirmed(f nf.Family) string {
	var why []string
	for _, c := range []struct {
		name string
		n    uint64
	}{{"insert_failed", p.InsertFailed}, {"invalid", p.Invalid}, {"icmp_error", p.ICMPErrors}} {
		if c.n > 0 {
			why = append(why, fmt.Sprintf("%s +%d", c.name, c.n))
		}
	}
	if why == nil {
		return "untracked, or conntrack is off"
	}
	s := strings.Join(why, ", ")
	if reasons := p.reasonsForInvalid(f); reasons != "" {
		s += ": " + reasons
	}
	return s
}

// mostReasons is how many kinds of reasons a loss tells.
const mostReasons = 3

// reasonsForInvalid says why packets of a family were INVALID, in the kernel's words, and of how many it does not tell; ""
// where it was not asked.
func (p Path) reasonsForInvalid(f nf.Family) string {
	invalid := p.Invalid + p.ICMPErrors
	if p.Reasons == nil || invalid == 0 {
		return ""
	}
	var said []string
	var given uint64 // for either family: the counts of the INVALID are of both
	for _, s := range p.Reasons {
		if s.passed() {
			continue
		}
		given += s.Packets
		if s.Family == f || s.Family == 0 {
			said = append(said, s.String())
		}
	}
	if more := len(said) - mostReasons; more > 0 {
		said = append(said[:mostReasons], fmt.Sprintf("%d other reasons", more))
	}
	switch without := monus(invalid, given); {
	case without == 0:
	case without == invalid:
		said = append(said, "the kernel gives no reason")
	default:
		said = append(said, fmt.Sprintf("for %d the kernel gives no reason", without))
	}
	return strings.Join(said, "; ")
}

// remarks are the reasons of packets that went on all the same, which no loss tells.
func (p Path) remarks() []Said {
	if p.Invalid+p.ICMPErrors == 0 {
		return p.Reasons
	}
	var r []Said
	for _, s := range p.Reasons {
		if s.passed() {
			r = append(r, s)
		}
	}
	return r
}
