package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func main() {
	netnsenv.Enter()
	for i := 0; i < 5; i++ {
	t0 := time.Now()
	cfg := netnsenv.Config{Silent: true, NoPath: os.Getenv("NOPATH") != "", Probes: []nf.Probe{nf.RawPrerouting, nf.ManglePrerouting}}
	if i == 4 {
		cfg.Room = netnsenv.Free(7)
	}
	e, err := netnsenv.Open(context.Background(), cfg)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	t1 := time.Now()
	fmt.Println(e, e.Room())
	in := inject.New(e.Links()[0])
	n, err := in.Send(context.Background(), inject.SYNs(10, inject.Flow{Src: netip.MustParseAddrPort("198.18.0.2:10000"), Dst: netip.MustParseAddrPort("192.0.2.1:80")}))
	t2 := time.Now()
	c, cerr := e.Table().Count()
	fmt.Println(n, err, c, cerr, t1.Sub(t0), t2.Sub(t1))
	if i == 4 {
	out, err := e.Command(context.Background(), "nft", "list", "table", "inet", "ctexp").CombinedOutput()
	fmt.Println(string(out), err)
	}
	t3 := time.Now()
	err = e.Close()
	fmt.Println(err, time.Since(t3))
	}
}
