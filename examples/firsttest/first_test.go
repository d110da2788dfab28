package firsttest

import (
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func TestMain(m *testing.M) { ctexp.Main(m) } // enters a user namespace of its own

var web = packet.Flow{
	Src: netip.MustParseAddrPort("198.18.0.2:10000"),
	Dst: netip.MustParseAddrPort("192.0.2.1:80"),
}

// A full table drops new flows before mangle sees them.
func TestFullTableDropsNewFlows(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{
		Room:   netnsenv.Free(7),
		Silent: true, // the host's own answers must not touch the table
		Probes: []nf.Probe{nf.RawPrerouting, nf.ManglePrerouting},
	})

	x.Inject(packet.SYNs(10, web))

	want := observe.Tally{
		Packets: map[string]uint64{"raw/prerouting": 10, "mangle/prerouting": 7},
		Entries: 7,
		Dropped: 3,
	}
	if diff := x.Tally().Diff(want); diff != "" {
		x.Errorf("10 SYNs into a table with room for 7 (-want +got):\n%s", diff)
	}
}
