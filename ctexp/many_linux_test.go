package ctexp_test

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Many experiments at once, one of sixteen with a full table, do not disturb each other: each has its own rules, sysctls,
// packets and entries. CTEXP_TRIES=64 makes as many.
func TestManyExperimentsAtOnce(t *testing.T) {
	t.Parallel()
	experiments := 20
	if n, err := strconv.Atoi(os.Getenv("CTEXP_TRIES")); err == nil {
		experiments = min(n, 64)
	}
	for i := range experiments {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			dropped := i%5 + 1
			cfg := netnsenv.Config{
				Silent: true, Probes: []nf.Probe{nf.RawPrerouting},
				Sysctls: map[string]string{"net.netfilter.nf_conntrack_tcp_timeout_syn_sent": fmt.Sprint(100 + i)},
				Rules: []netnsenv.Ruleset{netnsenv.NFT(fmt.Sprintf(
					"table ip n { chain c { type filter hook input priority 0; tcp sport 2000-%d drop; }; }", 2000+i%5))},
			}
			n := 5 + i
			want := observe.Tally{Packets: map[string]uint64{"raw/prerouting": uint64(n)}, Entries: n - dropped}
			if i%16 == 0 {
				room := i + 3
				cfg.Room = netnsenv.Free(room)
				if over := want.Entries - room; over > 0 {
					want.Entries, want.Dropped = room, uint64(over)
				}
			}
			x := ctexp.New(t, cfg)

			x.Inject(packet.SYNs(n, packet.Flow{Src: netip.MustParseAddrPort("198.18.0.2:2000"), Dst: web.Dst}))

			if d := x.Tally().Diff(want); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			if got := len(x.Frames()); got != n {
				t.Errorf("%d frames, want %d", got, n)
			}
			given := time.Duration(100+i) * time.Second
			for _, e := range x.Flows() {
				if e.Timeout > given || e.Orig.Src.Port() < 2000+uint16(dropped) {
					t.Errorf("entry %v of timeout %v in a host that gives %v and drops %d", e, e.Timeout, given, dropped)
				}
			}
		})
	}
}
