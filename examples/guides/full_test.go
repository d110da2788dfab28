package guides

import (
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

var web = packet.MustParse("tcp 198.18.0.2:10000 > 192.0.2.1:80 S")

// flows returns n SYNs of different flows.
func flows(n int) (all []packet.Packet) {
	for i := range n {
		all = append(all, web.With(packet.SrcPort(uint16(10000+i))))
	}
	return all
}

// Of ten new flows seven get an entry; three are dropped by conntrack, before any rule of mangle or filter.
func TestAFullTableDropsNewFlows(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{
		Room:   netnsenv.Free(7),
		Silent: true,
		Probes: []nf.Probe{nf.RawPrerouting, nf.ManglePrerouting},
	})

	x.Inject(packet.Packets(flows(10)...))

	want := observe.Tally{
		Packets: map[string]uint64{"raw/prerouting": 10, "mangle/prerouting": 7},
		Entries: 7,
		Dropped: 3,
	}
	if diff := x.Tally().Diff(want); diff != "" {
		x.Errorf("ten flows into room for seven (-want +got):\n%s", diff)
	}
}

// What is not tracked needs no entry, and passes a full table.
func TestUntrackedPacketsPass(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{
		Room:   netnsenv.Free(0),
		Silent: true,
		Rules: []netnsenv.Ruleset{netnsenv.NFT(`table inet t {
			chain prerouting { type filter hook prerouting priority raw; tcp dport 80 notrack; }
		}`)},
		Probes: []nf.Probe{nf.FilterInput},
	})

	x.Inject(packet.Packets(flows(3)...))

	if diff := x.Tally().Diff(observe.Tally{Packets: map[string]uint64{"filter/input": 3}}); diff != "" {
		x.Errorf("three packets without tracking (-want +got):\n%s", diff)
	}
}

// The loss has its place, and its cause by name.
func TestTheLossHasACause(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Room: netnsenv.Free(0), Silent: true})

	x.Inject(packet.Packets(flows(1)...))

	losses := x.Path().Losses()
	if len(losses) != 1 || losses[0].Causes[0].Kind != observe.CauseTableFull || !strings.Contains(losses[0].String(), "conntrack table full") {
		x.Errorf("losses: %v", losses)
	}
}
