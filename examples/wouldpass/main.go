// Wouldpass is a tool that embeds ctexp: it says what a ruleset would do with a packet, by asking the kernel.
//
//	go run ./examples/wouldpass -rules my.nft tcp 198.18.0.2:4000 192.0.2.1:22
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/netip"
	"os"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func main() {
	netnsenv.Enter()
	log.SetFlags(0)
	rules := flag.String("rules", "", "`file` with the ruleset, as nft -f takes it")
	flag.Parse()
	if err := run(context.Background(), *rules, flag.Args()); err != nil {
		log.Fatal("wouldpass: ", err)
	}
}

func run(ctx context.Context, file string, args []string) error {
	pkt, host, err := parse(args)
	if err != nil {
		return err
	}
	cfg := netnsenv.Config{
		Links:  []netnsenv.LinkConfig{{Prefixes: []netip.Prefix{netip.PrefixFrom(host, host.BitLen())}}},
		Silent: true,
	}
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		cfg.Rules = []netnsenv.Ruleset{netnsenv.NFT(string(text))}
	}
	behind := nf.ConfirmInput
	if nf.FamilyOf(host) == nf.IPv6 {
		behind = behind.Of(nf.IPv6)
	}
	cfg.Probes = []nf.Probe{behind}
	lab, err := ctexp.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer lab.Close()
	if _, err := lab.Inject(ctx, packet.Packets(pkt)); err != nil {
		return err
	}
	tally, err := lab.Observer.Tally(ctx)
	if err != nil {
		return err
	}
	verdict := "would be dropped"
	if tally.Packets[behind.Name] == 1 {
		verdict = "would pass"
	}
	fmt.Printf("%v\n%s\n%s\n", pkt, verdict, lab.Report(ctx))
	return nil
}

// parse turns the arguments into a packet and the address of the host that it goes to.
func parse(args []string) (packet.Packet, netip.Addr, error) {
	if len(args) != 3 {
		return nil, netip.Addr{}, fmt.Errorf("want three arguments: tcp or udp, source and destination")
	}
	src, err := netip.ParseAddrPort(args[1])
	if err != nil {
		return nil, netip.Addr{}, err
	}
	dst, err := netip.ParseAddrPort(args[2])
	if err != nil {
		return nil, netip.Addr{}, err
	}
	if nf.FamilyOf(src.Addr()) != nf.FamilyOf(dst.Addr()) {
		return nil, netip.Addr{}, fmt.Errorf("source and destination are of different families")
	}
	flow := packet.Flow{Src: src, Dst: dst}
	switch args[0] {
	case "tcp":
		return packet.SYN(flow), dst.Addr(), nil
	case "udp":
		return flow.UDP(nil), dst.Addr(), nil
	}
	return nil, netip.Addr{}, fmt.Errorf("protocol %q: want tcp or udp", args[0])
}
