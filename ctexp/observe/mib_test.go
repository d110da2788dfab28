package observe

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func TestParseMIB(t *testing.T) {
	t.Parallel()
	got := map[string]uint64{}
	err := parseMIB("Ip: Forwarding InAddrErrors\nIp: 1 7\nTcp: MaxConn\nTcp: -1\n", got)
	if err == nil {
		err = parseMIB("Ip6InNoRoutes                   \t3\n\n", got)
	}
	want := map[string]uint64{"IpForwarding": 1, "IpInAddrErrors": 7, "Ip6InNoRoutes": 3}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestParseMIBSaysWhereItIsGarbage(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Ip: A B\nIp: 1\n":      `line 2: want a counter, or names and then as many values: "Ip: 1"`,
		"Ip: A\nTcp: 1\n":       "line 2",
		"\nIp6InNoRoutes 3 4\n": "line 2",
		"Ip: A B\n":             `names without values: "Ip:"`,
	} {
		if err := parseMIB(text, map[string]uint64{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestRoutingIsExplained(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		mib  map[string]uint64
		lost uint64
		want string
	}{
		{nil, 1, "no route, the source is not reachable by that link (rp_filter), a martian address, or not for this host, which does not forward"},
		{map[string]uint64{"IpExtInNoRoutes": 2}, 2, "no route (IpExtInNoRoutes +2)"},
		{map[string]uint64{"IpExtInNoRoutes": 2}, 3, "no route (IpExtInNoRoutes +2); else a martian address, or an unknown reason"},
		{map[string]uint64{"IpInHdrErrors": 2, "IpExtInCsumErrors": 2, "Ip6InNoRoutes": 1}, 1, "a martian address, or an unknown reason"},
	} {
		if got := joinCauses((Path{MIB: c.mib}).routing(nf.IPv4, c.lost)); got != c.want {
			t.Errorf("%v: got %q, want %q", c.mib, got, c.want)
		}
	}
}

func FuzzParseMIB(f *testing.F) {
	f.Add("Ip: Forwarding InAddrErrors\nIp: 1 7\nTcp: MaxConn\nTcp: -1\n")
	f.Add("Ip6InNoRoutes 3\n")
	f.Fuzz(func(t *testing.T, text string) { _ = parseMIB(text, map[string]uint64{}) })
}
