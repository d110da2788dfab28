package xdpflood_test

import (
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/inject/xdpflood"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
)

func TestMain(m *testing.M) {
	netnsenv.EnterWith(netnsenv.Entry{RealRoot: os.Geteuid() == 0})
	os.Exit(m.Run())
}

// web and web6 are flows from outside to the host of open.
var (
	web  = packet.Flow{Src: netip.MustParseAddrPort("198.18.0.2:10000"), Dst: netip.MustParseAddrPort("192.0.2.1:80")}
	web6 = packet.Flow{
		Src: netip.MustParseAddrPort("[2001:db8:0:1:ffff:ffff:ffff:fffe]:10000"), Dst: netip.MustParseAddrPort("[2001:db8::1]:80"),
	}
)

// ports are n source ports.
func ports(n int) inject.Vary { return inject.Vary{Field: inject.VarySrcPort, Count: n} }

// open returns an Env with a veth link of both families, or with what links says.
func open(t testing.TB, cfg netnsenv.Config) *netnsenv.Env {
	t.Helper()
	if cfg.Links == nil {
		hosts := []netip.Prefix{netip.PrefixFrom(web.Dst.Addr(), 24), netip.PrefixFrom(web6.Dst.Addr(), 64)}
		cfg.Links = []netnsenv.LinkConfig{{Kind: netnsenv.Veth, Prefixes: hosts}}
	}
	cfg.NoPath, cfg.NoReasons = true, true
	env, err := netnsenv.Open(t.Context(), cfg)
	needs.Check(t, err)
	t.Cleanup(func() {
		if err := env.Close(); err != nil {
			t.Error(err)
		}
	})
	return env
}

// send floods the first link of an Env, or skips the test.
func send(t testing.TB, env *netnsenv.Env, f inject.Flood) inject.Flooded {
	t.Helper()
	done, err := xdpflood.Send(t.Context(), env.Links()[0], f)
	needs.Check(t, err)
	if slices.Contains(needs.Listed(), "BPF") {
		t.Error("CTEXP_LACKS lists BPF, which is there")
	}
	return done
}
