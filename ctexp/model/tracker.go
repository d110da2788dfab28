package model

import (
	"fmt"
	"strings"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Kernel is a model of the kernel's connection tracking of TCP, UDP and ICMP echo: of Linux 6.18, and of the versions since
// 6.2 but for what its fields say. The zero Kernel has the default settings.
type Kernel struct {
	// Strict is nf_conntrack_tcp_loose=0: connections are not picked up in the middle.
	Strict bool
	// Liberal is nf_conntrack_tcp_be_liberal=1: segments outside of the window are not INVALID.
	Liberal bool
	// IgnoreInvalidRST is nf_conntrack_tcp_ignore_invalid_rst=1: an RST below the acknowledged data is not INVALID.
	IgnoreInvalidRST bool
	// LongReset says that an RST that leaves a connection ESTABLISHED does not shorten its timeout to that of CLOSE, but to
	// that of unacknowledged data, as in some versions (measured: 6.12.118 and 7.3.4). See KernelOf.
	LongReset bool
	// OwnSYNReset says that an RST which acknowledges the end of a SYN that its own side has sent is taken for the answer to
	// that SYN, and not compared with the window, as in versions before that was corrected. See KernelOf.
	OwnSYNReset bool
}

// GoString returns the Kernel as Go source.
func (k Kernel) GoString() string {
	var f []string
	for _, c := range []struct {
		on   bool
		name string
	}{{k.Strict, "Strict"}, {k.Liberal, "Liberal"}, {k.IgnoreInvalidRST, "IgnoreInvalidRST"}, {k.LongReset, "LongReset"}, {k.OwnSYNReset, "OwnSYNReset"}} {
		if c.on {
			f = append(f, c.name+": true")
		}
	}
	return "model.Kernel{" + strings.Join(f, ", ") + "}"
}

// The timeouts of UDP and ICMP (net/netfilter/nf_conntrack_proto_udp.c, udp_timeouts; nf_conntrack_proto_icmp.c,
// nf_ct_icmp_timeout), and the time after which an answered UDP flow counts as a stream (nf_conntrack_udp_packet).
const (
	udpUnreplied = 30 * time.Second
	udpReplied   = 120 * time.Second
	udpStream    = 2 * time.Second
	icmpTimeout  = 30 * time.Second
)

// entry is the kernel's entry of a flow. Only the time is not known exactly, because the kernel's clock runs while the
// conversation is held.
type entry struct {
	opener         End // sent the packet that created it
	reply, assured bool
	tcp            tcpTrack
	// lo and hi bound the time until the entry expires.
	lo, hi time.Duration
	// old bounds the time since the entry was created; Age does not change it.
	old time.Duration
	// fresh says that the timeout was set by the packet of this step.
	fresh bool
}

// refresh sets the timeout (net/netfilter/nf_conntrack_core.c, nf_ct_refresh).
func (e *entry) refresh(d time.Duration) { e.lo, e.hi, e.fresh = d, d, true }

// tracker is the state of the model for one conversation. It is a plain value: a copy is independent.
type tracker struct {
	proto nf.Proto
	// at has the entry of TCP and UDP in [0], and those of ICMP by the end that sends the requests, since a request of each
	// end makes an entry of its own.
	at    [2]entry
	there [2]bool
}

// oracle decides what depends on the kernel's clock. Decisions beyond those given are false.
type oracle struct {
	given []bool
	asked int
}

func (o *oracle) ask() bool {
	o.asked++
	return o.asked <= len(o.given) && o.given[o.asked-1]
}

// verdict is what conntrack says of a packet: its class and its direction, which is zero if it is INVALID.
type verdict struct {
	class nf.CTState
	dir   nf.Direction
}

// String returns "new original".
func (v verdict) String() string {
	if v.dir == 0 {
		return v.class.String()
	}
	return fmt.Sprintf("%v %v", v.class, v.dir)
}

var invalid = verdict{class: nf.StateInvalid}

// elapse lets at most d pass on the kernel's clock.
func (t *tracker) elapse(d time.Duration) {
	for i := range t.at {
		t.at[i].lo -= d
		t.at[i].old += d
		t.at[i].fresh = false
	}
}

// age makes the entries older by d, as netnsenv.Table.Age does: it sets the timeout to what was left in whole seconds,
// rounded up, less d.
func (t *tracker) age(d time.Duration, o *oracle) {
	for i := range t.at {
		e := &t.at[i]
		if !t.there[i] {
			continue
		}
		hi := (e.hi + time.Second - 1).Truncate(time.Second) - d
		lo := e.lo.Truncate(time.Second) + time.Second - d
		if e.lo <= 0 {
			lo = 0
		}
		if lo = min(lo, hi); hi <= 0 || lo <= 0 && o.ask() {
			t.there[i] = false
			continue
		}
		e.lo, e.hi, e.fresh = max(lo, time.Second), hi, true
	}
}

// packet is what conntrack does with a packet (net/netfilter/nf_conntrack_core.c, nf_conntrack_in and resolve_normal_ct).
func (t *tracker) packet(k Kernel, s Step, o *oracle) verdict {
	if s.BadSum {
		return invalid
	}
	slot := 0
	if t.proto == nf.ICMP {
		if slot = int(s.From); s.Reply {
			slot = int(s.From.Other())
		}
	}
	e := &t.at[slot]
	if t.there[slot] && e.lo <= 0 && o.ask() {
		t.there[slot] = false // expired: found by the lookup, and destroyed
	}
	for {
		isNew := !t.there[slot]
		if isNew {
			*e = entry{opener: s.From}
		}
		dir := 0
		if s.From != e.opener {
			dir = 1
		}
		v := verdict{nf.StateNew, nf.Original}
		switch {
		case dir == 1:
			v = verdict{nf.StateEstablished, nf.Reply}
		case e.reply:
			v.class = nf.StateEstablished
		}
		kept, ok := true, true
		switch t.proto {
		case nf.UDP:
			e.udp(o)
		case nf.ICMP:
			if ok = !isNew || !s.Reply; ok {
				e.refresh(icmpTimeout)
			}
		case nf.TCP:
			switch e.tcpPacket(k, isNew, dir, s, o) {
			case tcpInvalid:
				ok = false
			case tcpKilled:
				kept = false
			case tcpRepeat:
				t.there[slot] = false
				continue
			}
		}
		if !ok {
			return invalid
		}
		if t.there[slot] = kept; dir == 1 {
			e.reply = true
		}
		return v
	}
}

// udp is net/netfilter/nf_conntrack_proto_udp.c, nf_conntrack_udp_packet.
func (e *entry) udp(o *oracle) {
	switch {
	case !e.reply || e.old < udpStream || !o.ask():
		e.refresh(udpUnreplied)
	default:
		e.refresh(udpReplied)
		e.assured = true
	}
}

// String returns the entry as the model knows it: "A: ESTABLISHED [ASSURED] 432000s".
func (e entry) describe(p nf.Proto) string {
	words := nf.Entry{Orig: nf.Tuple{Proto: p}, State: e.tcp.state, Status: e.status()}.Brief()
	left := e.hi.String()
	if e.lo != e.hi {
		left = fmt.Sprintf("%v to %v", max(0, e.lo.Truncate(time.Millisecond)), e.hi)
	}
	words = fmt.Sprintf("opened by %v: %s, %s left", e.opener, words, left)
	if p == nf.TCP {
		words += fmt.Sprintf(", %s", tcpInfo(e.tcp.info()))
	}
	return words
}

// status returns the status bits that the model knows.
func (e entry) status() (s nf.Status) {
	if e.reply {
		s |= nf.SeenReply
	}
	if e.assured {
		s |= nf.Assured
	}
	return s
}

// tcpInfo prints what the kernel tracks of both sides.
func tcpInfo(i nf.TCPInfo) string {
	side := func(s nf.TCPSide) string { return fmt.Sprintf("%v scale %d", s.Flags, s.Scale) }
	return fmt.Sprintf("original {%s} reply {%s}", side(i.Orig), side(i.Reply))
}

// describe returns the entries of the tracker: "none".
func (t tracker) describe() string {
	var all []string
	for i, e := range t.at {
		if t.there[i] {
			all = append(all, e.describe(t.proto))
		}
	}
	if all == nil {
		return "none"
	}
	return strings.Join(all, "; ")
}
