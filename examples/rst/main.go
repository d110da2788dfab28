// Rst is an experiment of twenty lines: how exact must a RST be to close a connection in the eyes of conntrack?
//
//	go run ./examples/rst
package main

import (
	"context"
	"fmt"
	"log"
	"net/netip"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func main() {
	netnsenv.Enter()
	for _, off := range []uint32{0, 1, 1000, 100_000, ^uint32(0)} {
		if err := resetWith(context.Background(), off); err != nil {
			log.Fatal(err)
		}
	}
}

// resetWith opens a connection through a router, resets it with a sequence number that is off by so much and prints
// what became of the entry.
func resetWith(ctx context.Context, off uint32) error {
	lab, err := ctexp.Open(ctx, netnsenv.Config{
		Links: []netnsenv.LinkConfig{
			{Name: "client", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}},
			{Name: "server", Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")}},
		},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
		Silent:  true,
	})
	if err != nil {
		return err
	}
	defer lab.Close()

	c := packet.Flow{Src: netip.MustParseAddrPort("192.0.2.9:1000"), Dst: netip.MustParseAddrPort("198.51.100.9:80")}
	for _, step := range []struct {
		link   string
		packet packet.Packet
	}{
		{"client", packet.SYN(c)},
		{"server", packet.SYNACK(c.Reverse())},
		{"client", packet.ACK(c)},
		{"client", c.TCP(packet.TCP{Flags: packet.FlagRST, Seq: 2 + off})},
	} {
		if _, err := lab.InjectOn(ctx, step.link, packet.Packets(step.packet)); err != nil {
			return err
		}
	}
	for entry, err := range lab.Observer.Flows(ctx, nf.Filter{}) {
		if err != nil {
			return err
		}
		fmt.Printf("RST off by %-6d: %v, %v left\n", int32(off), entry.State, entry.Timeout)
	}
	return nil
}
