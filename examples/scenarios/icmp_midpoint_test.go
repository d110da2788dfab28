package scenarios

import (
	"net/netip"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Open vSwitch, tests/system-traffic.at, "conntrack - ICMP related 2": an error about a flow that nobody has seen is INVALID
// and makes no entry. One about a flow that is there, from somewhere in the middle of the path, is RELATED to it, in the
// reply direction.
func TestICMPErrorFromTheMiddleOfThePathIsRelated(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		client, server, middle netip.Addr
		code                   uint8
	}{
		"ipv4": {client4, server4, addr("203.0.113.3"), layers.ICMPv4CodePort},
		"ipv6": {client6, server6, addr("2001:db8:3::3"), layers.ICMPv6CodePortUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := router()
			cfg.Probes = []nf.Probe{
				{Name: "invalid", Hook: nf.Forward, State: nf.StateInvalid},
				{Name: "new", Hook: nf.Forward, State: nf.StateNew},
				{Name: "related", Hook: nf.Forward, State: nf.StateRelated, Dir: nf.Reply},
			}
			x := ctexp.New(t, cfg)
			datagram := flow(tt.client, 41614, tt.server, 5555).UDP([]byte("hello"))
			unknown := flow(tt.client, 4369, tt.server, 8738).UDP([]byte("hello"))

			x.InjectOn("server", packet.Packets(packet.Unreachable(tt.middle, tt.code, unknown)))
			x.InjectOn("client", packet.Packets(datagram))
			x.InjectOn("server", packet.Packets(packet.Unreachable(tt.middle, tt.code, datagram)))

			want := observe.Tally{Packets: map[string]uint64{"invalid": 1, "new": 1, "related": 1}, Entries: 1}
			if diff := x.Tally().Diff(want); diff != "" {
				t.Errorf("an error about nothing, a datagram, an error about it (-want +got):\n%s", diff)
			}
		})
	}
}
