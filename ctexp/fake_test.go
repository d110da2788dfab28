package ctexp_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
	"github.com/ctexp/go-ctexp/internal/redtest"
)

func TestMain(m *testing.M) { ctexp.MainWith(able{m}, netnsenv.Entry{Programs: programs}) }

// programs are what the test binary also is.
var programs = map[string]func(){
	"send": func() { // a datagram from a port to an address
		local, err := net.ResolveUDPAddr("udp", os.Args[1])
		if err == nil {
			var c net.Conn
			if c, err = (&net.Dialer{LocalAddr: local}).Dial("udp", os.Args[2]); err == nil {
				_, err = c.Write([]byte("hello"))
			}
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	},
}

// able runs the tests, and its examples if the machine can.
type able struct{ m *testing.M }

func (t able) Run() int {
	needs.SkipExamples(openOne)
	return redtest.Tidy{M: t.m}.Run()
}

// openOne opens what examples need.
func openOne() error {
	env, err := netnsenv.Open(context.Background(), netnsenv.Config{Rules: []netnsenv.Ruleset{netnsenv.NFT("table inet t { }")}})
	if err != nil {
		return err
	}
	return env.Close()
}

var web = packet.Flow{
	Src: netip.MustParseAddrPort("198.18.0.2:10000"),
	Dst: netip.MustParseAddrPort("192.0.2.1:80"),
}

// veth is the link that every machine has.
var veth = []netnsenv.LinkConfig{{Kind: netnsenv.Veth}}
