package scenarios

import (
	"slices"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Open vSwitch, tests/system-traffic.at, "conntrack - IPv4 fragmentation", "… out of order" and their twins for IPv6: a
// datagram in fragments is one packet to conntrack and has one entry, whichever of them comes first.
func TestFragmentsInAnyOrderMakeOneEntry(t *testing.T) {
	t.Parallel()
	ipv4 := flow(client4, 1, server4, 2).UDP(make([]byte, 800)).Fragments(420)
	ipv6 := flow(client6, 1, server6, 2).UDP(make([]byte, 2000)).Fragments(1280)
	backwards := func(packets []packet.Packet) []packet.Packet {
		packets = slices.Clone(packets)
		slices.Reverse(packets)
		return packets
	}
	for name, fragments := range map[string][]packet.Packet{
		"ipv4, in order": ipv4, "ipv4, backwards": backwards(ipv4),
		"ipv6, in order": ipv6, "ipv6, backwards": backwards(ipv6),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := router()
			cfg.Probes = []nf.Probe{
				{Name: "fragments", Hook: nf.Prerouting, Priority: nf.PriorityDefrag - 1},
				{Name: "new", Hook: nf.Forward, State: nf.StateNew},
			}
			x := ctexp.New(t, cfg)

			x.InjectOn("client", packet.Packets(fragments...))

			want := observe.Tally{Packets: map[string]uint64{"fragments": uint64(len(fragments)), "new": 1}, Entries: 1}
			if diff := x.Tally().Diff(want); diff != "" {
				t.Errorf("%v (-want +got):\n%s", fragments, diff)
			}
		})
	}
}
