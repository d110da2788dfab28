package scenarios

import (
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Open vSwitch, tests/system-traffic.at, "conntrack - new connections": UDP that goes in one direction alone stays NEW,
// however often it comes; the first answer makes it ESTABLISHED. (The TCP half of the original asks whether Open vSwitch
// forwards what is new, which has no counterpart here.)
func TestUDPInOneDirectionIsNeverEstablished(t *testing.T) {
	t.Parallel()
	cfg := router()
	cfg.Probes = []nf.Probe{
		{Name: "new", Hook: nf.Forward, State: nf.StateNew},
		{Name: "established", Hook: nf.Forward, State: nf.StateEstablished},
	}
	x := ctexp.New(t, cfg)
	asked := flow(client4, 1, server4, 2).UDP(nil)
	answer := flow(server4, 2, client4, 1).UDP(nil)

	states := x.States(asked.Tuple(), packet.Packets(asked, asked, asked))
	oneWay := x.Tally().Packets
	states = append(states, x.States(asked.Tuple(), packet.Packets(answer, asked))...)

	type result struct {
		States         []string
		OneWay, Answer map[string]uint64
	}
	want := result{
		States: []string{"udp [UNREPLIED]", "udp [UNREPLIED]", "udp [UNREPLIED]", "udp", "udp"},
		OneWay: map[string]uint64{"new": 3, "established": 0},
		Answer: map[string]uint64{"new": 3, "established": 2},
	}
	if diff := ctexp.Diff(want, result{states, oneWay, x.Tally().Packets}); diff != "" {
		t.Errorf("the same datagram three times, then an answer (-want +got):\n%s", diff)
	}
}
