package netnsenv_test

import (
	"context"
	"net/netip"
	"os"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
)

func TestMain(m *testing.M) {
	for os.Getenv(spinning) != "" {
	}
	netnsenv.EnterWith(netnsenv.Entry{Programs: programs})
	needs.SkipExamples(openOne)
	os.Exit(m.Run())
}

// openOne opens what examples need.
func openOne() error {
	env, err := netnsenv.Open(context.Background(), netnsenv.Config{Rules: []netnsenv.Ruleset{netnsenv.NFT("table inet t { }")}})
	if err != nil {
		return err
	}
	return env.Close()
}

// web is a flow from outside to the default host.
var web = packet.Flow{
	Src: netip.MustParseAddrPort("198.18.0.2:10000"),
	Dst: netip.MustParseAddrPort("192.0.2.1:80"),
}

// open opens an Env for a test, or skips the test if the machine lacks something.
func open(t testing.TB, cfg netnsenv.Config) *netnsenv.Env {
	t.Helper()
	e, err := netnsenv.Open(t.Context(), cfg)
	needs.Check(t, err)
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return e
}

// web6 is a flow to an address of dual.
var web6 = packet.Flow{Src: netip.MustParseAddrPort("[2001:db8:1::2]:10000"), Dst: netip.MustParseAddrPort("[2001:db8::1]:80")}

// send injects packets into the Env's first link.
func send(t testing.TB, e *netnsenv.Env, packets ...packet.Packet) {
	t.Helper()
	if _, err := inject.New(e.Links()[0]).Send(t.Context(), packet.Packets(packets...)); err != nil {
		t.Fatal(err)
	}
}

// sendSYNs injects n SYNs into the Env's first link.
func sendSYNs(t testing.TB, e *netnsenv.Env, n int) {
	t.Helper()
	if _, err := inject.New(e.Links()[0]).Send(t.Context(), packet.SYNs(n, web)); err != nil {
		t.Fatal(err)
	}
}

func count(t testing.TB, e *netnsenv.Env) int {
	t.Helper()
	n, err := e.Table().Count()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func noPort(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), 0) }
