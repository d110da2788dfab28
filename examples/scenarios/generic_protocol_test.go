package scenarios

import (
	"net"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Open vSwitch, tests/system-traffic.at, "conntrack - generic IP protocol": an advertisement of VRRP, protocol 112, to the
// group that routers listen to has an entry with ports 0, for the 600 s of the generic tracker.
func TestGenericProtocolHasEntryWithoutPorts(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, host())
	group := flow(addr("192.168.0.30"), 0, addr("224.0.0.18"), 0)
	member, err := x.Env.ListenPacket(t.Context(), "udp4", ":0")
	ctexp.Require(t, "listen", err)
	ctexp.Require(t, "join the group", x.Env.Do(func() error { // without a member the host drops it, and no entry is confirmed
		link, err := net.InterfaceByName("tun0")
		if err != nil {
			return err
		}
		return ipv4.NewPacketConn(member).JoinGroup(link, &net.UDPAddr{IP: group.Dst.Addr().AsSlice()})
	}))

	// Version 2, router 1, priority 100, one address.
	x.Inject(packet.Packets(group.Raw(112, []byte{0x21, 1, 100, 1, 0, 1, 0xba, 0x52, 192, 168, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}).
		With(packet.TTL(255), packet.TOS(0xc0))))

	orig := nf.Tuple{Proto: 112, Src: group.Src, Dst: group.Dst}
	want := []nf.Entry{{Orig: orig, Reply: orig.Reverse(), Status: nf.Confirmed, Timeout: 600 * time.Second}}
	if diff := ctexp.Diff(want, steady(x.Flows(nf.Filter{Proto: 112}))); diff != "" {
		t.Errorf("one advertisement (-want +got):\n%s", diff)
	}
}
