package main

import (
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// The host under test and the world, as in the article.
var (
	host  = netip.MustParseAddr("192.0.2.1")
	world = netip.MustParseAddr("198.18.0.2")
	web   = packet.Flow{Src: netip.AddrPortFrom(world, 10000), Dst: netip.AddrPortFrom(host, 80)}
)

// lab is a ctexp.Lab with the rules that a row has in it.
type lab struct {
	*ctexp.Lab
	b       *bench
	backend backend
	rules   []rule // that are loaded
	spoiled bool   // loading some has failed
}

func (l *lab) inject(packets iter.Seq[packet.Packet]) {
	_, err := l.Inject(l.b.ctx, packets)
	l.b.must(err)
}

func (l *lab) tally() observe.Tally {
	t, err := l.Observer.Tally(l.b.ctx)
	l.b.must(err)
	return t
}

// input is how many packets came to the input hook.
func input(t observe.Tally) int { return int(t.Packets[nf.FilterInput.Name]) }

// dice are the fields that say what chance did to a full table.
func dice(ts ...observe.Tally) fields {
	evicted, collected := 0, 0
	for _, t := range ts {
		evicted += int(t.Evicted)
		collected += int(t.Collected)
	}
	f := fields{{"evicted", evicted}}
	if collected > 0 {
		f = append(f, field{"collected", collected})
	}
	return f
}

// states returns the states of all flows, one name if they agree, "" if there are none.
func (l *lab) states() string {
	var names []string
	for e, err := range l.Observer.Flows(l.b.ctx, nf.Filter{Proto: nf.TCP}) {
		l.b.must(err)
		if s := e.State.String(); !slices.Contains(names, s) && !isEstablished(e) {
			names = append(names, s)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

// captured counts the packets of the world that the capture saw coming in.
func (l *lab) captured() int {
	n := 0
	for f, err := range l.Observer.Frames(l.b.ctx) {
		l.b.must(err)
		if f.Dir == packet.In && packet.Packet(f.Packet).Tuple().Src.Addr() == world {
			n++
		}
	}
	return n
}

// synacks counts the SYN+ACKs that left from a moment on, those to one port once: some are sent again.
func (l *lab) synacks(from time.Time) map[uint16]layers.TCP {
	seen := map[uint16]layers.TCP{}
	for f, err := range l.Observer.Frames(l.b.ctx) {
		l.b.must(err)
		if f.Dir != packet.Out || f.Time.Before(from) {
			continue
		}
		tcp, ok := f.Decode().Layer(layers.LayerTypeTCP).(*layers.TCP)
		if ok && tcp.SYN && tcp.ACK {
			seen[uint16(tcp.DstPort)] = *tcp
		}
	}
	return seen
}

// established is the i-th of many entries that last: answered connections to another port than the experiment's.
func established(i int) nf.Entry {
	orig := nf.Tuple{Proto: nf.TCP, Src: netip.AddrPortFrom(others, uint16(1+i)), Dst: netip.AddrPortFrom(host, 443)}
	return nf.Entry{
		Orig: orig, Reply: orig.Reverse(), Timeout: 24 * time.Hour, State: nf.Established,
		Status: nf.Confirmed | nf.SeenReply | nf.Assured,
	}
}

// others is where such connections come from.
var others = netip.MustParseAddr("203.0.113.9")

func isEstablished(e nf.Entry) bool { return e.Orig.Src.Addr() == others }
