//go:build linux

package main

import (
	"iter"
	"net/netip"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// packets is how many are sent at once: new flows, from one source.
const packets = 30_000

var web = packet.Flow{Src: netip.MustParseAddrPort("198.18.0.2:1024"), Dst: netip.MustParseAddrPort("192.0.2.1:80")}

// dropInRaw drops the packets before conntrack.
const dropInRaw = "table ip raw { chain pre { type filter hook prerouting priority -300; tcp dport 80 drop; }; }"

// openEnv opens an Env without probes, whose host does not answer.
func openEnv(b *bench, raw bool, links ...netnsenv.LinkConfig) *netnsenv.Env {
	cfg := netnsenv.Config{Silent: true, NoPath: true, NoReasons: true, Links: links}
	if raw {
		cfg.Rules = []netnsenv.Ruleset{netnsenv.NFT(dropInRaw)}
	}
	e, err := netnsenv.Open(b.ctx, cfg)
	b.must(err)
	b.later(func() { _ = e.Close() })
	return e
}

// emptied returns a function that empties the table.
func emptied(b *bench, e *netnsenv.Env) func() {
	return func() {
		_, err := e.Table().Flush(b.ctx, nf.Filter{})
		b.must(err)
	}
}

func floodOf(n, queues int) inject.Flood {
	return inject.Flood{Template: packet.SYN(web), N: n, Queues: queues, Vary: []inject.Vary{{Field: inject.VarySrcPort, Count: n}}}
}

// flooding, sendingPrebuilt and sendingSYNs send packets on the first link of an Env.
func flooding(b *bench, e *netnsenv.Env) func() amount {
	return func() amount {
		f, err := floodOf(packets, 1).Send(b.ctx, e.Links()[0])
		b.must(err)
		return done(f.Sent)
	}
}

func sendingPrebuilt(b *bench, e *netnsenv.Env) func() amount {
	var built []packet.Packet
	for p := range packet.SYNs(packets, web) {
		built = append(built, p)
	}
	return sending(b, e, func() iter.Seq[packet.Packet] {
		return func(yield func(packet.Packet) bool) { // without the copies of packet.Packets
			for _, p := range built {
				if !yield(p) {
					return
				}
			}
		}
	})
}

func sendingSYNs(b *bench, e *netnsenv.Env) func() amount {
	return sending(b, e, func() iter.Seq[packet.Packet] { return packet.SYNs(packets, web) })
}

func sending(b *bench, e *netnsenv.Env, seq func() iter.Seq[packet.Packet]) func() amount {
	i := inject.New(e.Links()[0])
	return func() amount {
		n, err := i.Send(b.ctx, seq())
		b.must(err)
		return done(n)
	}
}

func againstWrite(b *bench, raw bool, ours func(*bench, *netnsenv.Env) func() amount) contender {
	e := openEnv(b, raw)
	return contender{ours: ours(b, e), theirs: writeLoop(b, e), before: emptied(b, e)}
}

func twoQueues(b *bench) contender {
	e := openEnv(b, false)
	by := func(queues int) func() amount {
		return func() amount {
			f, err := floodOf(packets, queues).Send(b.ctx, e.Links()[0])
			b.must(err)
			return done(f.Sent)
		}
	}
	return contender{ours: by(2), theirs: by(1), before: emptied(b, e)}
}
