package observe_test

import (
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// A route or a routing rule that refuses is named where nothing else explains the loss, for its family alone.
func TestRefusingRoutesAreNamed(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ip"); err != nil {
		needs.Check(t, &nf.UnsupportedError{Need: "ip", Hint: "install iproute2", Err: err})
	}
	refused := packet.Flow{Src: web.Src, Dst: addrPort("203.0.113.9:80")}
	for name, c := range map[string]struct{ script, want string }{
		"none":              {"ip route add 203.0.113.9 dev tun1; ip -6 route add blackhole 2001:db8:9::/48", ""},
		"a route":           {"ip route add blackhole 203.0.113.0/24", "a route that refuses: blackhole 203.0.113.0/24, a martian address, or an unknown reason"},
		"of another table":  {"ip route add prohibit default table 100; ip rule add to 203.0.113.0/24 lookup 100", "a route that refuses: prohibit default table 100, a martian address, or an unknown reason"},
		"a rule of routing": {"ip rule add to 203.0.113.9 unreachable priority 77", "no route (IpExtInNoRoutes +1), or one that refuses: unreachable by rule 77"},
		"counts nothing":    {"ip rule add to 203.0.113.9 blackhole priority 78", "a route that refuses: blackhole by rule 78, a martian address, or an unknown reason"},
		"beside no route":   {"ip route add blackhole 198.51.100.0/24", "no route (IpExtInNoRoutes +1)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := open(t, router())
			if out, err := x.env.Command(t.Context(), "sh", "-ec", c.script).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}

			x.sendBy("tun0", packet.SYN(refused))

			why := ""
			for _, l := range x.path().Losses() {
				why += l.Why()
			}
			if diff := cmp.Diff(c.want, why); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
