package main

import (
	"net"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/examples/tales/internal/xdp"
)

// dropByXDP is the half of before-conntrack that needs the host's root.
func dropByXDP(b *bench) fields {
	cfg := plain()
	cfg.Probes = append(cfg.Probes, nf.RawPrerouting)
	cfg.Silent = true
	l := b.open(cfg)
	link := l.Env.Links()[0]
	var d *xdp.Dropper
	b.must(l.Env.Do(func() error {
		i, err := net.InterfaceByName(link.Name())
		if err == nil {
			d, err = xdp.Drop(i.Index)
		}
		return err
	}))
	b.atEnd(d.Close)

	// Not by Inject, which waits until the packets have come to the ingress hook: XDP is before it.
	for p := range packet.SYNs(b.packets, web) {
		_, err := link.Write(p)
		b.must(err)
	}
	dropped := 0
	b.must(ctexp.Await(b.ctx, func() (_ bool, err error) {
		dropped, err = d.Dropped()
		return dropped >= b.packets, err
	}))
	t := l.tally()
	return fields{
		{"xdp_dropped", dropped}, {"xdp_captured", l.captured()},
		{"xdp_raw", int(t.Packets[nf.RawPrerouting.Name])}, {"xdp_entries", t.Entries},
	}
}
