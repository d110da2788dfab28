package observe

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func dropOfPacket(usec int64, reason string, packet ...byte) nf.Dropped {
	return nf.Dropped{Time: time.UnixMicro(usec), Reason: reason, Packet: packet}
}

func TestDropsAreCounted(t *testing.T) {
	t.Parallel()
	drop := func(reason, function string) nf.Dropped {
		return nf.Dropped{Reason: reason, Function: function, Packet: []byte{0x45}}
	}
	counts := countDrops([]nf.Dropped{drop("IP_RPFILTER", "f"), drop("NO_SOCKET", "g"), drop("NO_SOCKET", "g"), drop("NO_SOCKET", "")})
	var got []string
	for _, c := range counts {
		got = append(got, c.String())
	}
	if diff := cmp.Diff([]string{"2 × NO_SOCKET in g", "IP_RPFILTER in f", "NO_SOCKET"}, got); diff != "" {
		// With equal counts the order is alphabetical.
		t.Errorf("(-want +got):\n%s", diff)
	}
	since := subList(counts, []DropCount{{nf.IPv4, "NO_SOCKET", "g", 1}, {nf.IPv4, "IP_RPFILTER", "f", 1}}, DropCount.key, (*DropCount).sub)
	if diff := cmp.Diff([]DropCount{{nf.IPv4, "NO_SOCKET", "g", 1}, {nf.IPv4, "NO_SOCKET", "", 1}}, since); diff != "" {
		t.Errorf("of a second phase (-want +got):\n%s", diff)
	}
	if subList(nil, nil, DropCount.key, (*DropCount).sub) != nil {
		t.Error("what was not asked was counted")
	}
}

// No counter of a namespace counts martians.
func TestPathNamesMartians(t *testing.T) {
	t.Parallel()
	counts := map[string]uint64{}
	for _, p := range nf.PathProbes(nf.IPv4) {
		if p.Hook == nf.Prerouting {
			counts[p.Name] = 3
		}
	}
	p := pathOf(func(p nf.Probe) uint64 { return counts[p.Name] })
	p.MIB = map[string]uint64{"IpExtInNoRoutes": 1}
	p.KernelDrops = []DropCount{{nf.IPv4, "IP_LOCAL_SOURCE", "ip_rcv", 2}, {nf.IPv4, "IP_INNOROUTES", "", 1}}
	want := `ipv4 prerouting   defrag 3 → raw 3 → conntrack 3 → mangle 3 → nat 3 → filter 3 → end 3
                  3 of 3 lost after end, before mangle/input or mangle/forward: no route (IpExtInNoRoutes +1); the source is an address of this host (IP_LOCAL_SOURCE 2)
the kernel drops  2 × IP_LOCAL_SOURCE in ip_rcv
                  IP_INNOROUTES
`
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(p.String(), "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDropsFindTheirFrames(t *testing.T) {
	t.Parallel()
	frames := []packet.Record{
		frameAt(10, "tun0", packet.In, 1), frameAt(11, "tun0", packet.In, 1), frameAt(12, "tun1", packet.Out, 1),
		frameAt(20, "tun0", packet.Out, 2), frameAt(30, "tun0", packet.In, 3),
	}
	of, rest := DropsOf(frames, []nf.Dropped{
		dropOfPacket(11, "last before", 0x45, 1),
		dropOfPacket(13, "the one before that", 0x45, 1),
		dropOfPacket(14, "it left", 0x45, 1),
		dropOfPacket(15, "none is left", 0x45, 1),
		dropOfPacket(19, "too early", 0x45, 2),
		dropOfPacket(40, "the beginning", 0x45),
		dropOfPacket(40, "not captured", 0x45, 9),
	})
	var got [][]string
	for _, drops := range append(of, rest) {
		var reasons []string
		for _, d := range drops {
			reasons = append(reasons, d.Reason)
		}
		got = append(got, reasons)
	}
	want := [][]string{
		{"the one before that"}, {"last before"}, {"it left"}, nil, {"the beginning"},
		{"none is left", "too early", "not captured"},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Routers change the time to live, and with it the checksum.
func TestDropsFindTheirFramesAfterARouter(t *testing.T) {
	t.Parallel()
	was, is := make([]byte, 20), make([]byte, 20)
	was[0], was[8], was[10] = 0x45, 64, 7
	is[0], is[8], is[10] = 0x45, 63, 8
	was6, is6 := make([]byte, 40), make([]byte, 40)
	was6[0], was6[7] = 0x60, 64
	is6[0], is6[7] = 0x60, 63
	frames := []packet.Record{{Dir: packet.In, Packet: was}, {Dir: packet.In, Packet: was6}}
	of, rest := DropsOf(frames, []nf.Dropped{{Packet: is6, Reason: "6"}, {Packet: is, Reason: "4"}})
	if len(of[0]) != 1 || of[0][0].Reason != "4" || len(of[1]) != 1 || rest != nil {
		t.Errorf("of %v, rest %v", of, rest)
	}
}
