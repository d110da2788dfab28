package netnsenv

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func TestZeroConfigHasOneLinkAndADefaultRoute(t *testing.T) {
	t.Parallel()
	c, err := Config{}.normalize()
	if err != nil {
		t.Fatal(err)
	}
	l := c.Links[0]
	if len(c.Links) != 1 || l.Name != "tun0" || l.MTU != 1500 ||
		l.Prefixes[0] != netip.MustParsePrefix("192.0.2.1/24") || l.Routes[0] != netip.MustParsePrefix("0.0.0.0/0") {
		t.Errorf("got %+v", c.Links)
	}
}

func TestInvalidConfigs(t *testing.T) {
	t.Parallel()
	probe := func(p ...nf.Probe) Config { return Config{Probes: p} }
	for name, tt := range map[string]struct {
		cfg  Config
		want string
	}{
		"a prefix that is none":        {Config{Links: []LinkConfig{{Prefixes: []netip.Prefix{{}}}}}, "prefix"},
		"two links of one name":        {Config{Links: []LinkConfig{{Name: "a"}, {Name: "a"}}}, `link "a": the name is taken`},
		"a link named like loopback":   {Config{Links: []LinkConfig{{Name: "lo"}}}, `link "lo": the name is taken`},
		"a name that is too long":      {Config{Links: []LinkConfig{{Name: "br-0a1b2c3d4e5f6"}}}, "longer than 15 bytes"},
		"an MTU that is too small":     {Config{Links: []LinkConfig{{MTU: 10}}}, "MTU 10"},
		"a tun that asks":              {Config{Links: []LinkConfig{{Kind: Tun, ARP: true}}}, "a tun has no ARP"},
		"a kind that is none":          {Config{Links: []LinkConfig{{Kind: 9}}}, "kind 9"},
		"a name with a slash":          {Config{Links: []LinkConfig{{Name: "a/b"}}}, "not a valid name for an interface"},
		"a name that the kernel fills": {Config{Links: []LinkConfig{{Name: "t%d"}}}, "not a valid name for an interface"},
		"a name with a NUL":            {Config{Links: []LinkConfig{{Name: "t\x00d"}}}, "not a valid name for an interface"},
		"the name of all links":        {Config{Links: []LinkConfig{{Name: "all"}}}, "not a valid name for an interface"},
		"IPv4 within IPv6":             {Config{Links: []LinkConfig{{Prefixes: []netip.Prefix{netip.MustParsePrefix("::ffff:192.0.2.1/120")}}}}, "want an IPv4 prefix"},
		"a prefix twice":               {Config{Links: []LinkConfig{{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("192.0.2.1/24")}}}}, "twice"},
		"an MTU too small for IPv6":    {Config{Links: []LinkConfig{{MTU: 500, Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8::1/64")}}}}, "IPv6 needs 1280"},
		"a switch that is none":        {Config{Conntrack: 7}, "On or Off"},
		"room without conntrack":       {Config{Conntrack: Off, Room: Free(3)}, "conntrack is off"},
		"a probe's name without end":   {Config{Probes: []nf.Probe{{Name: strings.Repeat("x", 300)}}}, "longer than 127"},
		"room for fewer than none":     {Config{Room: Free(-1)}, "room for -1 entries"},
		"two probes of one name":       {probe(nf.RawPrerouting, nf.RawPrerouting), `probe "raw/prerouting": the name is taken`},
		"two nameless probes in place": {probe(nf.Probe{}, nf.Probe{}), `probe "prerouting@0": the name is taken`},
		"a name that is a standard's":  {probe(nf.Probe{Name: "raw/prerouting"}), "belongs to the standard probe"},
		"the silence's name":           {probe(nf.Probe{Name: nf.Silenced}), "the name is taken"},
		"a hook that is none":          {probe(nf.Probe{Hook: 7}), "hook(7)"},
		"a family that is none":        {probe(nf.Probe{Family: 7}), "family(7)"},
		"a question to nobody":         {Config{Conntrack: Off, Probes: []nf.Probe{nf.ConfirmedInput}}, "which is off"},
		"a direction that is none":     {probe(nf.Probe{Dir: 3}), "direction 3"},
		"two links of one address":     {two(LinkConfig{}), `link "tun1": address 192.0.2.1 belongs to link "tun0" already`},
		"two links of one route":       {two(LinkConfig{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.2/24")}}), `link "tun1": the route to 10.0.0.0/8 goes through link "tun0" already`},
		"two links of one mark":        {Config{Links: []LinkConfig{{Mark: 7}, {Mark: 7}}}, "mark 0x7 leads to link \"tun0\" already"},
		"ports without a protocol":     {probe(nf.Probe{Match: nf.Match{DstPort: 80}}), "needs a protocol"},
		"flags without TCP":            {probe(nf.Probe{Match: nf.Match{Proto: nf.UDP, Flags: 2}}), "its Proto must be nf.TCP"},
		"flags beside the mask":        {probe(nf.Probe{Match: nf.Match{Proto: nf.TCP, Flags: 2, FlagsMask: 1}}), "it matches flags S, of which FlagsMask lacks some"},
		"two default routes": {Config{Links: []LinkConfig{
			{Prefixes: prefixesOf("192.0.2.1/24"), Routes: prefixesOf("0.0.0.0/0")}, {Prefixes: prefixesOf("198.51.100.1/24"), Routes: prefixesOf("0.0.0.0/0")},
		}}, `link "tun1": the default route 0.0.0.0/0 goes through link "tun0" already; Config.Routes has routes with a metric`},
		"the name of a far end": {Config{Links: []LinkConfig{{Name: "far.1"}}}, "far ends"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := tt.cfg.normalize()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func prefixesOf(texts ...string) (out []netip.Prefix) {
	for _, t := range texts {
		out = append(out, netip.MustParsePrefix(t))
	}
	return out
}

// two is a Config of two links, the second of which has the address and the route of the first if it says no other.
func two(second LinkConfig) Config {
	first := LinkConfig{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}, Routes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	if second.Prefixes == nil {
		second.Prefixes = first.Prefixes
	}
	if second.Routes == nil {
		second.Routes = first.Routes
	}
	return Config{Links: []LinkConfig{first, second}}
}

func TestLinksByMarkMayHaveTheSameAddressesAndRoutes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Config{
		"the second": two(LinkConfig{Mark: 1}),
		"a third":    {Links: append(two(LinkConfig{Mark: 1}).Links, two(LinkConfig{Mark: 2}).Links[1])},
	} {
		if _, err := c.normalize(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a Config says is kept, and the rest is filled in.
func TestNormalizeFillsIn(t *testing.T) {
	t.Parallel()
	prefix := netip.MustParsePrefix("10.0.0.1/8")
	both := []nf.Probe{{Name: "out", Dir: nf.Original}, {Name: "back", Dir: nf.Reply}}
	c, err := Config{
		Links: []LinkConfig{
			{}, {Kind: Veth}, {ARP: true}, {Kind: Veth, ARP: true}, {Name: "own", Kind: Tun, MTU: 68, Prefixes: []netip.Prefix{prefix}, Routes: []netip.Prefix{prefix}},
		},
		Probes: both,
	}.normalize()
	want := []LinkConfig{
		{Name: "tun0", MTU: 1500}, {Name: "tun1", Kind: Veth, MTU: 1500}, {Name: "tun2", Kind: Veth, ARP: true, MTU: 1500},
		{Name: "tun3", Kind: Veth, ARP: true, MTU: 1500},
		{Name: "own", Kind: Tun, MTU: 68, Prefixes: []netip.Prefix{prefix}, Routes: []netip.Prefix{prefix}},
	}
	if diff := cmp.Diff(want, c.Links, cmpopts.EquateComparable(netip.Prefix{})); diff != "" || err != nil {
		t.Errorf("links (-want +got):\n%s%v", diff, err)
	}
	if len(c.Probes) != 2 || c.Probes[0].Dir != nf.Original || c.Probes[1].Dir != nf.Reply {
		t.Errorf("probes %+v, want %+v", c.Probes, both)
	}
}

func TestOnlyLinkHasTheDefaultRouteOfItsFamilies(t *testing.T) {
	t.Parallel()
	both := []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64")}
	c, err := Config{Links: []LinkConfig{{Prefixes: both}}}.normalize()
	if err != nil || len(c.Links[0].Routes) != 2 || c.Links[0].Routes[1] != netip.MustParsePrefix("::/0") {
		t.Errorf("one link: routes %v, %v", c.Links[0].Routes, err)
	}
	c, err = Config{Links: []LinkConfig{{Prefixes: append(both, netip.MustParsePrefix("10.0.0.1/8"))}}}.normalize()
	if err != nil || len(c.Links[0].Routes) != 2 {
		t.Errorf("one link with two prefixes of a family: routes %v, %v", c.Links[0].Routes, err)
	}
	c, err = Config{Links: []LinkConfig{{Prefixes: both}, {}}}.normalize()
	if err != nil || c.Links[0].Routes != nil || c.Links[1].Name != "tun1" {
		t.Errorf("two links: %+v, %v", c.Links, err)
	}
}
