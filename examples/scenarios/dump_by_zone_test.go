package scenarios

import (
	"testing"
	"time"

	"github.com/ti-mo/conntrack"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/kernel"
)

// Linux, tools/testing/selftests/net/netfilter/conntrack_dump_flush.c: of two entries, IPv4 and IPv6, in each of four zones
// the kernel dumps and flushes exactly those of the zone that it is asked for (since 6.8, eff3c558bb7e "netfilter: ctnetlink:
// support filtering by zone"; before it takes every entry for one of that zone). The library compares zones itself as well and would hide it if the kernel did not, so a plain
// connection of ctnetlink asks.
func TestDumpAndFlushByZoneHitExactlyThatZone(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{})
	zones := []uint16{0, 123, 124, 125}
	for _, zone := range zones {
		for _, f := range []packet.Flow{flow(remote4, 12345, host4, 443), flow(remote6, 12345, host6, 443)} {
			orig := f.Tuple(nf.TCP)
			ctexp.Require(t, "create an entry", x.Env.Table().Create(nf.Entry{
				Orig: orig, Reply: orig.Reverse(), Zone: zone, State: nf.Established, Timeout: 20000 * time.Second,
			}))
		}
	}
	var c *conntrack.Conn
	ctexp.Require(t, "open ctnetlink", x.Env.Do(func() (err error) {
		c, err = conntrack.Dial(nil)
		return err
	}))
	defer c.Close()

	// dumped says for each zone that is asked for how many entries of which zones come.
	dumped := func() map[uint16]map[uint16]int {
		got := map[uint16]map[uint16]int{}
		for _, zone := range zones {
			got[zone] = map[uint16]int{}
			flows, err := c.DumpFilter(conntrack.NewFilter().Zone(zone), nil)
			ctexp.Require(t, "dump", err)
			for _, f := range flows {
				got[zone][f.Zone]++
			}
		}
		return got
	}

	got := []map[uint16]map[uint16]int{dumped()}
	for _, zone := range []uint16{123, 0} {
		ctexp.Require(t, "flush", c.FlushFilter(conntrack.NewFilter().Zone(zone)))
		got = append(got, dumped())
	}

	want := []map[uint16]map[uint16]int{
		{0: {0: 2}, 123: {123: 2}, 124: {124: 2}, 125: {125: 2}},
		{0: {0: 2}, 123: {}, 124: {124: 2}, 125: {125: 2}},
		{0: {}, 123: {}, 124: {124: 2}, 125: {125: 2}},
	}
	if !kernel.ZoneFilters.Here() {
		every := map[uint16]int{0: 2, 123: 2, 124: 2, 125: 2}
		want = []map[uint16]map[uint16]int{
			{0: every, 123: every, 124: every, 125: every},
			{0: {}, 123: {}, 124: {}, 125: {}},
			{0: {}, 123: {}, 124: {}, 125: {}},
		}
	}
	if diff := ctexp.Diff(want, got); diff != "" {
		t.Errorf("before a flush, after one of zone 123, after one of zone 0 (-want +got):\n%s", diff)
	}
}
