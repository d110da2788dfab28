package scenarios

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/nftables"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Open vSwitch, tests/system-traffic.at, "conntrack - zone-based timeout policy": the first packets of ICMP and UDP live for
// as long as the policy of their zone says, entries of other zones for as long as ever, and so do all when it is gone.
func TestZonesHaveTimeoutsOfTheirOwn(t *testing.T) {
	t.Parallel()
	const s = time.Second
	x := ctexp.New(t, router(table(filterAt(nf.Prerouting, nf.PriorityRaw,
		when(iif("client"), setZone(5)), when(iif("server"), setZone(6))))))
	send := func() {
		x.Flush()
		x.InjectOn("client", packet.Packets(packet.Echo(client4, inner4, 1, 1, nil), flow(client4, 1, inner4, 2).UDP(nil)))
		x.InjectOn("server", packet.Packets(packet.Echo(server4, outer4, 1, 1, nil), flow(server4, 1, outer4, 2).UDP(nil)))
	}
	left := func() map[string]time.Duration {
		m := map[string]time.Duration{}
		for _, e := range steady(x.Flows()) {
			m[fmt.Sprintf("%v in zone %d", e.Orig.Proto, e.Zone)] = e.Timeout
		}
		return m
	}

	send()
	got := []map[string]time.Duration{left()}
	x.Load(
		netnsenv.TimeoutPolicy{Table: "icmp", Proto: nf.ICMP, Zone: nf.InZone(5), Timeouts: map[string]time.Duration{"timeout": 10 * s}},
		netnsenv.TimeoutPolicy{Table: "udp", Proto: nf.UDP, Zone: nf.InZone(5), Timeouts: map[string]time.Duration{"unreplied": 10 * s}})
	send()
	got = append(got, left())
	x.Age(10 * s)
	got = append(got, left())
	x.Load(netnsenv.NFTables(func(c *nftables.Conn) error {
		for _, name := range []string{"icmp", "udp"} {
			c.DelTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: name})
		}
		return nil
	}))
	send()
	got = append(got, left())

	ever := map[string]time.Duration{"icmp in zone 5": 30 * s, "udp in zone 5": 30 * s, "icmp in zone 6": 30 * s, "udp in zone 6": 30 * s}
	want := []map[string]time.Duration{
		ever,
		{"icmp in zone 5": 10 * s, "udp in zone 5": 10 * s, "icmp in zone 6": 30 * s, "udp in zone 6": 30 * s},
		{"icmp in zone 6": 20 * s, "udp in zone 6": 20 * s},
		ever,
	}
	if diff := ctexp.Diff(want, got); diff != "" {
		t.Errorf("without a policy, with one, 10 s later, without it again (-want +got):\n%s", diff)
	}
}
