package ctexp_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// What an experiment tells of packets is the same whether the host has its address on a link or on a device over one, except that
// captures have the packets at both.
func TestAnswersAreTheSameOverDevices(t *testing.T) {
	t.Parallel()
	needs.Check(t, kernel.ReasonLink.Lack()) // without it a reason is not joined with a packet that two interfaces show
	host, all := netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("0.0.0.0/0")
	over := func(kind netnsenv.DeviceKind, port string, below ...netnsenv.Device) netnsenv.Config {
		return netnsenv.Config{
			Links:   []netnsenv.LinkConfig{{Name: "eth0", Port: netnsenv.Port{Of: port}, Prefixes: []netip.Prefix{}}},
			Devices: append(below, netnsenv.Device{Name: "d", Kind: kind, Prefixes: []netip.Prefix{host}, Routes: []netip.Prefix{all}}),
		}
	}
	want := answersOf(t, netnsenv.Config{Links: []netnsenv.LinkConfig{{Name: "d", Kind: netnsenv.Veth}}}, 0, "d")
	for name, tt := range map[string]struct {
		cfg netnsenv.Config
		tag uint16
	}{
		"bridge":             {cfg: over(netnsenv.Bridge{}, "d")},
		"bond":               {cfg: over(netnsenv.Bond{}, "d")},
		"ipvlan":             {cfg: over(netnsenv.IPvlan{Parent: "eth0"}, "")},
		"VLAN":               {over(netnsenv.VLAN{Parent: "eth0", ID: 5}, ""), 5},
		"VLAN of a bridge":   {over(netnsenv.VLAN{Parent: "br0", ID: 5}, "br0", netnsenv.Device{Name: "br0", Kind: netnsenv.Bridge{}}), 5},
		"bridge that has it": {over(netnsenv.Bridge{VLANFiltering: true}, "d"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := ctexp.Diff(want, answersOf(t, tt.cfg, tt.tag, "eth0")); diff != "" {
				t.Errorf("answers (-on a link +over it):\n%s", diff)
			}
		})
	}
}

type answers struct {
	Fates, Classes, Received, Reasons []string
	Tally, Path                       string
	Frames                            []string // at d
}

// answersOf sends packets to the first link, some of which are tagged, dropped or INVALID.
func answersOf(t *testing.T, cfg netnsenv.Config, tag uint16, link string) answers {
	cfg.Probes = []nf.Probe{nf.RawPrerouting, nf.ManglePrerouting}
	cfg.Rules = []netnsenv.Ruleset{netnsenv.NFT(`table ip t { chain c { type filter hook input priority 0; udp dport 9 drop; }; }`)}
	x := ctexp.New(t, cfg)
	flow := packet.Flow{Src: netip.MustParseAddrPort("198.18.0.2:1000"), Dst: netip.MustParseAddrPort("192.0.2.1:80")}
	dropped := packet.Flow{Src: flow.Src, Dst: netip.AddrPortFrom(flow.Dst.Addr(), 9)}
	packets := []packet.Packet{
		packet.SYN(flow), packet.SYN(flow).With(packet.Flags(packet.FlagSYN | packet.FlagFIN)), dropped.UDP(nil), flow.UDP([]byte("x")),
	}
	l := x.Env.Link(link)
	var frames []packet.Frame
	for _, p := range packets {
		f := p.Frame(l.PeerHardwareAddr(), l.HardwareAddr())
		if tag != 0 {
			f = f.VLAN(tag)
		}
		frames = append(frames, f)
	}
	x.InjectFrames(link, packet.Frames(frames...))

	a := answers{Tally: x.Tally().String(), Path: x.Path().String()}
	for _, f := range x.Fates() {
		if strings.Contains(f.Frame.Packet.String(), "Flags [S],") {
			continue // the host's RST may have ended its entry before anybody asked for the state
		}
		a.Fates = append(a.Fates, fmt.Sprint(f.Frame.Dir, " ", f.Frame.Packet, ": ", f))
	}
	for _, r := range x.Received() {
		a.Received = append(a.Received, fmt.Sprint(r.Packet))
	}
	for _, r := range x.Reasons() {
		a.Reasons = append(a.Reasons, fmt.Sprint(r.Link, " ", r.Text, " ", r.Packet))
	}
	for _, f := range x.Frames() {
		if f.Link == "d" {
			a.Frames = append(a.Frames, fmt.Sprint(f.Dir, " ", f.Packet))
		}
	}
	slices.Sort(a.Fates)
	if tag == 0 {
		a.Classes = x.Classes(packet.Packets(packets...))
	} else {
		a.Classes = []string{"NEW", "INVALID: invalid tcp flag combination", "NEW", "NEW"}
	}
	return a
}

// A VRF passes each packet through the hooks twice, as the port and as the VRF; the table has one entry, and there is one fate.
func TestVRFCountsPacketsTwice(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{
		Links:   []netnsenv.LinkConfig{{Name: "eth0", Port: netnsenv.Port{Of: "red"}, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}}},
		Devices: []netnsenv.Device{{Name: "red", Kind: netnsenv.VRF{Table: 5}}},
		Probes:  []nf.Probe{nf.RawPrerouting, nf.FilterInput},
	})
	x.Inject(packet.Packets(packet.Echo(netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.1"), 1, 1, nil)))
	tally := x.Tally()
	got := fmt.Sprint(tally.Packets, " ", tally.Entries, " ", len(x.Received()))
	if want := "map[filter/input:1 raw/prerouting:2] 1 1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	fates := 0
	for _, f := range x.Fates() {
		if f.Frame.Dir == packet.In {
			fates++
		}
	}
	if fates != 1 {
		t.Errorf("%d fates of what came in, want 1: %v", fates, x.Fates())
	}
}

// A bridge passes packets on between its ports without conntrack, unless br_netfilter is there and is asked to.
func TestBridgedPacketsMeetConntrackOnlyIfAsked(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		sysctls map[string]string
		entries int
	}{
		"default":      {nil, 0},
		"br_netfilter": {map[string]string{"net.bridge.bridge-nf-call-iptables": "1"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := netnsenv.Port{Of: "br0"}
			x := ctexp.New(t, netnsenv.Config{
				Links:   []netnsenv.LinkConfig{{Name: "eth0", Port: port}, {Name: "br-0a1b2c3d4e5f", Port: port}},
				Devices: []netnsenv.Device{{Name: "br0", Kind: netnsenv.Bridge{}, ARP: true}},
				Sysctls: tt.sysctls,
			})
			from, to := x.Env.Link("eth0"), x.Env.Link("br-0a1b2c3d4e5f")
			p := packet.SYN(packet.Flow{Src: netip.MustParseAddrPort("192.0.2.2:1"), Dst: netip.MustParseAddrPort("192.0.2.3:80")})

			x.InjectFrames("eth0", packet.Frames(p.Frame(from.PeerHardwareAddr(), to.PeerHardwareAddr())))

			var got []string
			for _, r := range x.Received() {
				got = append(got, fmt.Sprint(r.Link, " ", r.Packet))
			}
			if diff := cmp.Diff([]string{"br-0a1b2c3d4e5f " + p.String()}, got); diff != "" {
				t.Errorf("received (-want +got):\n%s", diff)
			}
			if tally := x.Tally(); tally.Entries != tt.entries {
				t.Errorf("%v, want %d entries", tally, tt.entries)
			}
		})
	}
}

// Each host of a shape is an Experiment: the router counts what passes from the client to the server.
func TestShapeOfExperiments(t *testing.T) {
	t.Parallel()
	hosts := ctexp.NewShape(t, netnsenv.ClientRouterServer())
	server, err := hosts["server"].Env.Listen(t.Context(), "tcp", "10.0.2.2:80")
	if err != nil {
		t.Fatal(err)
	}
	client, err := hosts["client"].Env.Dial(t.Context(), "tcp", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	tuple := nf.Tuple{Proto: nf.TCP, Src: netip.MustParseAddrPort(client.LocalAddr().String()), Dst: netip.MustParseAddrPort("10.0.2.2:80")}
	for _, name := range []string{"client", "router", "server"} {
		hosts[name].Await("the connection", func() bool { return hosts[name].Flow(tuple).State == nf.Established })
	}
}
