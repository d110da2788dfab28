package observe_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func (l lab) path() observe.Path {
	l.Helper()
	p, err := l.o.Path(l.Context())
	if err != nil {
		l.Fatal(err)
	}
	return p
}

// What the kernel did reads off the path: to the host, through the host, and lost on the way.
func TestPathSaysWherePacketsWent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		cfg  netnsenv.Config
		send []packet.Packet
		want string
	}{
		{
			"to a silent host", netnsenv.Config{Silent: true},
			[]packet.Packet{packet.SYN(web), packet.SYN(web.Nth(1))}, `
ipv4 prerouting   defrag 2 → raw 2 → conntrack 2 → mangle 2 → nat 2 → filter 2 → end 2
     input        mangle 2 → filter 2 → security 2 → nat 2 → confirm 2 → confirmed 2
silenced output   2 of the host's own packets, before conntrack saw them
`,
		},
		{
			"answered", netnsenv.Config{},
			[]packet.Packet{packet.SYN(web)}, `
ipv4 prerouting   defrag 1 → raw 1 → conntrack 1 → mangle 1 → nat 1 → filter 1 → end 1
     input        mangle 1 → filter 1 → security 1 → nat 1 → confirm 1 → confirmed 1
     output       raw 1 → conntrack 1 → mangle 1 → nat 1 → filter 1 → security 1 → end 1
     postrouting  mangle 1 → nat 1 → confirm 1 → confirmed 1
`,
		},
		{
			"to somebody else", netnsenv.Config{Silent: true},
			[]packet.Packet{packet.SYN(packet.Flow{Src: web.Src, Dst: addrPort("203.0.113.1:80")})}, `
ipv4 prerouting   defrag 1 → raw 1 → conntrack 1 → mangle 1 → nat 1 → filter 1 → end 1
                  1 of 1 lost behind end, before mangle/input or mangle/forward: not for this host, which does not forward (IpInAddrErrors +1)
`,
		},
		{
			// out by where it came from, of which the host would tell the sender (ICMP redirect)
			"forwarded", netnsenv.Config{Silent: true, Sysctls: map[string]string{"net.ipv4.ip_forward": "1"}},
			[]packet.Packet{packet.SYN(packet.Flow{Src: web.Src, Dst: addrPort("203.0.113.1:80")})}, `
ipv4 prerouting   defrag 1 → raw 1 → conntrack 1 → mangle 1 → nat 1 → filter 1 → end 1
     forward      mangle 1 → filter 1 → security 1 → end 1
     postrouting  mangle 1 → nat 1 → confirm 1 → confirmed 1
silenced output   1 of the host's own packets, before conntrack saw them
`,
		},
		{
			"IPv6", netnsenv.Config{Silent: true, Links: []netnsenv.LinkConfig{{Prefixes: prefixes("2001:db8::1/64")}}},
			[]packet.Packet{packet.SYN(web6)}, `
ipv6 prerouting   defrag 1 → raw 1 → conntrack 1 → mangle 1 → nat 1 → filter 1 → end 1
     input        mangle 1 → filter 1 → security 1 → nat 1 → confirm 1 → confirmed 1
silenced output   1 of the host's own packets, before conntrack saw them
`,
		},
		{
			"invalid", netnsenv.Config{Silent: true},
			[]packet.Packet{web.TCP(packet.TCP{Flags: packet.FlagFIN | packet.FlagSYN, Seq: 1})}, `
ipv4 prerouting   defrag 1 → raw 1 → conntrack 1 → mangle 1 → nat 1 → filter 1 → end 1
     input        mangle 1 → filter 1 → security 1 → nat 1 → confirm 1 → confirmed 0
                  1 of 1 without an entry between confirm and confirmed: invalid +1: tcp: invalid tcp flag combination
silenced output   1 of the host's own packets, before conntrack saw them
`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x := open(t, c.cfg)
			x.send(c.send...)
			if diff := cmp.Diff(strings.TrimPrefix(c.want, "\n"), x.path().String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPathWithoutProbesIsUnsupported(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{NoPath: true})
	if _, err := x.o.Path(t.Context()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("path: %v", err)
	}
	if err := x.tally().Check(); !errors.Is(err, observe.ErrLawNotApplicable) {
		t.Errorf("check: %v", err)
	}
}

func BenchmarkPath(b *testing.B) {
	x := open(b, netnsenv.Config{})
	for b.Loop() {
		if _, err := x.o.Path(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
