package ctexp

import (
	"fmt"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/report"
)

// blameFullTable says of the packets without an entry that the full table has dropped them, if there are as many of them
// as it has dropped.
func (c *collector) blameFullTable() {
	var without []int
	for i, f := range c.d.Frames {
		if f.State == noEntry && f.Reason == "" {
			without = append(without, i)
		}
	}
	if c.tally.Dropped == 0 || uint64(len(without)) != c.tally.Dropped {
		return
	}
	for _, i := range without {
		c.blame(i, "conntrack table full")
	}
}

// blameLosses says of packets that came in that they were lost, and why, where that is certain.
func (c *collector) blameLosses() {
	if c.pathErr != nil || c.lacks("frames") != nil {
		return
	}
	for _, f := range []nf.Family{nf.IPv4, nf.IPv6} {
		came := c.came(f)
		var losses []observe.Loss // on the way of what comes in
		var unconfirmed uint64
		for _, l := range c.path.Losses() {
			switch {
			case l.Family != f:
			case l.Unconfirmed():
				unconfirmed += l.Lost
			case isOnTheWayIn(l):
				losses = append(losses, l)
			}
		}
		known := c.blameHeaders(f, came)
		if len(losses) == 1 && losses[0].Lost == uint64(len(came)) {
			for _, i := range came {
				c.blame(i, causeOf(losses[0]))
			}
			continue
		}
		c.blameTheRest(f, came, losses, unconfirmed, known)
	}
}

// blameTheRest says it of the packets without an entry, if they are as many as were lost: one that has gone on has an entry,
// or is INVALID and counted at the confirmation. Others that have gone on without one, untracked ones, leave it open. Known
// are those that met no hook for their headers.
func (c *collector) blameTheRest(f nf.Family, came []int, losses []observe.Loss, unconfirmed, known uint64) {
	var without, invalid []int
	var lost, before uint64
	for _, i := range came {
		switch f := c.d.Frames[i]; {
		case f.State != noEntry && f.State != stateInvalid:
		case f.Verdict == report.Dropped:
			before++
		case f.State == stateInvalid:
			invalid = append(invalid, i)
		default:
			without = append(without, i)
		}
	}
	for _, l := range losses {
		lost += l.Lost
	}
	passed := c.path.Passed[f]
	if passed == 0 {
		without, invalid = append(without, invalid...), nil
	}
	if c.lacks("events") != nil || unconfirmed != passed || passed != uint64(len(invalid)) || lost != known+before+uint64(len(without)) {
		return
	}
	if len(losses) > 0 && losses[0].BeforeHooks() && losses[0].Lost == known {
		losses = losses[1:]
	}
	why := fmt.Sprintf("at one of %d places: see the path", len(losses))
	if len(losses) == 1 {
		why = causeOf(losses[0])
	}
	for _, i := range without {
		c.blame(i, why)
	}
}

// blameHeaders says it of the packets that the kernel has not taken because of their headers, if it has counted as many, and
// returns how many they are.
func (c *collector) blameHeaders(f nf.Family, came []int) (known uint64) {
	wrong := []struct {
		counter string
		is      func([]byte) bool
		why     string
	}{
		{"IpExtInCsumErrors", isBadSum, "a bad checksum of the IP header"}, // looked at first (net/ipv4/ip_input.c, ip_rcv_core)
		{"IpExtInTruncatedPkts", isTruncated, "fewer bytes than the IP header says"},
	}
	if f == nf.IPv6 {
		wrong = wrong[1:]
		wrong[0].counter, wrong[0].why = "Ip6InTruncatedPkts", "fewer bytes than the IPv6 header says"
	}
	for _, w := range wrong {
		var some []int
		for _, i := range came {
			if c.d.Frames[i].Verdict == "" && w.is(c.record.Frames[i].Packet) {
				some = append(some, i)
			}
		}
		if uint64(len(some)) != c.path.MIB[w.counter] {
			continue
		}
		for _, i := range some {
			c.d.Frames[i].State = "" // conntrack has not seen it
			c.blame(i, w.why)
		}
		known += uint64(len(some))
	}
	return known
}

func isTruncated(p []byte) bool { return header.Parse(p).Length > len(p) }

// isBadSum is of IPv4 alone.
func isBadSum(p []byte) bool {
	v := header.Parse(p)
	return v.Version == 4 && v.HasHeader() && !header.IsHeaderSumRight(p)
}

// came returns the frames by which packets of a family came in.
func (c *collector) came(f nf.Family) (came []int) {
	etherType := map[nf.Family]uint16{nf.IPv4: header.EtherTypeIPv4, nf.IPv6: header.EtherTypeIPv6}[f]
	for i, frame := range c.record.Frames {
		if frame.Dir == observe.In && frame.EtherType == etherType {
			came = append(came, i)
		}
	}
	return came
}

// isOnTheWayIn reports whether a loss is one of packets that came in, and of no others: what the host sends meets neither
// these hooks nor the links. That fragments are put together is no loss of their frames.
func isOnTheWayIn(l observe.Loss) bool {
	hook := l.From[strings.LastIndex(l.From, "/")+1:]
	return hook != "output" && hook != "postrouting" && !strings.Contains(l.From, " and ") && !strings.HasPrefix(l.Why, "fragments")
}

// causeOf says of a packet why it was lost. Of several causes any may be its own.
func causeOf(l observe.Loss) string {
	const few = 160 // bytes
	switch {
	case !strings.Contains(l.Why, "; "):
		return l.Why
	case len(l.Why) <= few:
		return "one of: " + l.Why
	}
	return fmt.Sprintf("behind %s, one of several causes: see the path", l.From)
}

// blame puts why a packet was lost behind what is known of it.
func (c *collector) blame(frame int, why string) {
	f := &c.d.Frames[frame]
	f.Verdict = report.Dropped
	if c.blamed[frame] { // it is known better
		return
	}
	if f.Reason != "" {
		why = f.Reason + "; " + why
	}
	f.Reason = why
	c.nowBlamed(frame)
}

// nowBlamed says that it is known why a packet was lost.
func (c *collector) nowBlamed(frame int) {
	if c.blamed == nil {
		c.blamed = map[int]bool{}
	}
	c.blamed[frame] = true
}
