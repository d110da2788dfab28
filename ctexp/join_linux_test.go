package ctexp_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

// What is injected into one host shows in the other's table, path and capture when Inject returns.
func TestBothHostsOfAWireAreObserved(t *testing.T) {
	t.Parallel()
	near := ctexp.New(t, netnsenv.Config{
		Links:   []netnsenv.LinkConfig{{Prefixes: []netip.Prefix{netip.MustParsePrefix("198.18.0.1/24")}}},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
	})
	far := ctexp.New(t, netnsenv.Config{Links: []netnsenv.LinkConfig{}})
	near.Join(far, netnsenv.Wire{
		A: netnsenv.LinkConfig{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.254/24")}},
		B: netnsenv.LinkConfig{
			Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")},
			Routes:   []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")},
		},
	})

	near.Inject(inject.Packets(inject.Echo(web.Src.Addr(), web.Dst.Addr(), 1, 1, nil)))

	for name, x := range map[string]*ctexp.Experiment{"near": near, "far": far} {
		if flows := x.Flows(); len(flows) != 1 || flows[0].Brief() != "icmp" {
			t.Errorf("%s: flows %v, want one with its answer seen", name, flows)
		}
	}
	var links []string
	for _, f := range far.Frames() {
		links = append(links, f.Link+" "+f.Dir.String())
	}
	if !slices.Equal(links, []string{"wire0 In", "wire0 Out"}) {
		t.Errorf("frames at the far host: %q", links)
	}
}
