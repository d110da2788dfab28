package netnsenv_test

import (
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
)

// own is the address of the device in tests, peer that of its neighbour.
var (
	own  = netip.MustParsePrefix("10.1.0.1/24")
	peer = netip.MustParseAddr("10.1.0.2")
)

// deviceTest is a host with a device d, and how packets get to it and back by the first link.
type deviceTest struct {
	cfg netnsenv.Config
	mtu int // of d
	// wrap returns the frame by which a packet arrives at d, whose address is to, through a link with the address link; nil: a
	// frame to the link.
	wrap func(p packet.Packet, from, to, link nf.MAC) packet.Frame
	// unwrap returns the packet in a frame that d has sent; nil: that behind the header.
	unwrap func(f packet.Frame) packet.Packet
}

// over is a host with a link eth0 below a device d.
func over(port netnsenv.Port, kind netnsenv.DeviceKind, below ...netnsenv.Device) netnsenv.Config {
	return netnsenv.Config{
		Links:   []netnsenv.LinkConfig{{Name: "eth0", Port: port, Prefixes: []netip.Prefix{}}},
		Devices: append(below, netnsenv.Device{Name: "d", Kind: kind, Prefixes: []netip.Prefix{own}}),
	}
}

func toItsAddress(p packet.Packet, from, to, _ nf.MAC) packet.Frame { return p.Frame(from, to) }

func vlan5(p packet.Packet, from, to, _ nf.MAC) packet.Frame { return p.Frame(from, to).VLAN(5) }

func inVLAN5(f packet.Frame) packet.Packet {
	if len(f) < 18 || f[12] != 0x81 || f[13] != 0 || f[14]&0xf != 0 || f[15] != 5 {
		return packet.Packet(fmt.Appendf(nil, "not in VLAN 5: %v", f))
	}
	return packet.Packet(f[18:])
}

var (
	ofD     = netnsenv.Port{Of: "d"}
	vlan    = netnsenv.VLAN{Parent: "eth0", ID: 5}
	filters = netnsenv.Bridge{VLANFiltering: true, VLANs: []netnsenv.PortVLAN{{ID: 5}}}
	tagged5 = netnsenv.Port{Of: "d", VLANs: []netnsenv.PortVLAN{{ID: 5, Tagged: true}}}

	vxlanPeer = netip.MustParseAddrPort("192.0.2.2:4789")
	vxlanOwn  = netip.MustParseAddrPort("192.0.2.1:4789")
	vxlan     = netnsenv.VXLAN{ID: 7, Local: vxlanOwn.Addr(), Remote: vxlanPeer.Addr(), Parent: "eth0"}
)

var deviceTests = map[string]deviceTest{
	"bridge":              {cfg: over(ofD, netnsenv.Bridge{}), mtu: 1500},
	"bridge of VLANs":     {cfg: over(tagged5, filters), mtu: 1500, wrap: vlan5, unwrap: inVLAN5},
	"VLAN":                {cfg: over(netnsenv.Port{}, vlan), mtu: 1500, wrap: vlan5, unwrap: inVLAN5},
	"VLAN of a bridge":    {cfg: over(netnsenv.Port{Of: "br0"}, netnsenv.VLAN{Parent: "br0", ID: 5}, netnsenv.Device{Name: "br0", Kind: netnsenv.Bridge{}}), mtu: 1500, wrap: vlan5, unwrap: inVLAN5},
	"bridge of a VLAN":    {cfg: over(netnsenv.Port{}, netnsenv.Bridge{}, netnsenv.Device{Name: "eth0.5", Kind: vlan, Port: ofD}), mtu: 1500, wrap: vlan5, unwrap: inVLAN5},
	"dummy":               {cfg: dummy(), mtu: 1500},
	"macvlan":             {cfg: over(netnsenv.Port{}, netnsenv.Macvlan{Parent: "eth0"}), mtu: 1500, wrap: toItsAddress},
	"private macvlan":     {cfg: over(netnsenv.Port{}, netnsenv.Macvlan{Parent: "eth0", Mode: netnsenv.MacvlanPrivate}), mtu: 1500, wrap: toItsAddress},
	"macvlan for VEPA":    {cfg: over(netnsenv.Port{}, netnsenv.Macvlan{Parent: "eth0", Mode: netnsenv.MacvlanVEPA}), mtu: 1500, wrap: toItsAddress},
	"macvlan passthru":    {cfg: over(netnsenv.Port{}, netnsenv.Macvlan{Parent: "eth0", Mode: netnsenv.MacvlanPassthru}), mtu: 1500, wrap: toItsAddress},
	"ipvlan":              {cfg: over(netnsenv.Port{}, netnsenv.IPvlan{Parent: "eth0"}), mtu: 1500},
	"ipvlan of layer 3":   {cfg: over(netnsenv.Port{}, netnsenv.IPvlan{Parent: "eth0", Mode: netnsenv.IPvlanL3}), mtu: 1500},
	"ipvlan of layer 3s":  {cfg: over(netnsenv.Port{}, netnsenv.IPvlan{Parent: "eth0", Mode: netnsenv.IPvlanL3S}), mtu: 1500},
	"VXLAN":               {cfg: withVXLAN(vxlan), mtu: 1450, wrap: inVXLAN, unwrap: outOfVXLAN},
	"VXLAN of any parent": {cfg: withVXLAN(netnsenv.VXLAN{ID: 7, Remote: vxlanPeer.Addr()}), mtu: 1500, wrap: inVXLAN, unwrap: outOfVXLAN},
	"bond":                {cfg: over(ofD, netnsenv.Bond{}), mtu: 1500},
	"bond round robin":    {cfg: over(ofD, netnsenv.Bond{Mode: netnsenv.BondRoundRobin}), mtu: 1500},
	"bond by XOR":         {cfg: over(ofD, netnsenv.Bond{Mode: netnsenv.BondXOR}), mtu: 1500},
	"bond of broadcast":   {cfg: over(ofD, netnsenv.Bond{Mode: netnsenv.BondBroadcast}), mtu: 1500},
	"VRF": {cfg: netnsenv.Config{
		Links:   []netnsenv.LinkConfig{{Name: "eth0", Kind: netnsenv.Veth, Port: ofD, Prefixes: []netip.Prefix{own}}},
		Devices: []netnsenv.Device{{Name: "d", Kind: netnsenv.VRF{Table: 100}}},
	}, mtu: 1500},
}

// dummy is a host whose dummy has its address; a link leads to the peer.
func dummy() netnsenv.Config {
	cfg := over(netnsenv.Port{}, netnsenv.Dummy{})
	cfg.Links[0].Kind = netnsenv.Veth
	cfg.Links[0].Routes = []netip.Prefix{netip.PrefixFrom(peer, 32)}
	return cfg
}

func withVXLAN(kind netnsenv.VXLAN) netnsenv.Config {
	cfg := over(netnsenv.Port{}, kind)
	cfg.Links[0].Kind, cfg.Links[0].MTU = netnsenv.Veth, 1600
	cfg.Links[0].Prefixes = prefixes("192.0.2.1/24")
	if kind.Parent != "" {
		cfg.Links[0].MTU = 1500
	}
	return cfg
}

func inVXLAN(p packet.Packet, from, to, link nf.MAC) packet.Frame {
	inner := append([]byte{8, 0, 0, 0, 0, 0, 7, 0}, p.Frame(from, to)...)
	flow := packet.Flow{Src: netip.AddrPortFrom(vxlanPeer.Addr(), 1000), Dst: vxlanOwn}
	return flow.UDP(inner).Frame(from, link)
}

func outOfVXLAN(f packet.Frame) packet.Packet {
	const headers = header.EthernetSize + 20 + 8 + 8 + header.EthernetSize
	if len(f) < headers {
		return packet.Packet(f)
	}
	return packet.Packet(f[headers:])
}

// An echo request as large as the device's MTU arrives, and the reply leaves: without ARP, and with where the neighbour is known.
func TestDevicesCarryBothWaysAtTheirMTU(t *testing.T) {
	t.Parallel()
	for name, tt := range deviceTests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.run(t)
		})
		i := len(tt.cfg.Devices) - 1
		if !tt.hasARP() {
			continue
		}
		t.Run(name+" with ARP", func(t *testing.T) {
			t.Parallel()
			tt := tt
			tt.cfg.Devices = slices.Clone(tt.cfg.Devices)
			for j := range tt.cfg.Devices {
				tt.cfg.Devices[j].ARP = true
			}
			tt.cfg.Neighbours = []netnsenv.Neighbour{{Dev: tt.cfg.Devices[i].Name, Addr: peer, MAC: nf.MAC{0, 0, 0x5e, 0, 0x53, 2}}}
			tt.run(t)
		})
	}
}

// hasARP reports whether the device has ARP: neither a VRF nor an ipvlan of layer 3 has Ethernet for the host.
func (tt deviceTest) hasARP() bool {
	d := tt.cfg.Devices[len(tt.cfg.Devices)-1]
	i, _ := d.Kind.(netnsenv.IPvlan)
	return d.Kind.String() != "vrf" && d.Kind.String() != "dummy" && i.Mode == netnsenv.IPvlanL2
}

func (tt deviceTest) run(t *testing.T) {
	env := open(t, tt.cfg)
	l := env.Links()[0]
	to := l.HardwareAddr()
	if tt.wrap != nil {
		var err error
		if to, err = env.HardwareAddr("d"); err != nil {
			t.Fatal(err)
		}
	} else {
		tt.wrap = toItsAddress
	}
	if tt.unwrap == nil {
		tt.unwrap = packet.Frame.Packet
	}

	var got, want []string
	for _, size := range []int{100, tt.mtu} {
		payload := make([]byte, size-len(packet.Echo(peer, own.Addr(), 1, 1, nil)))
		request := packet.Echo(peer, own.Addr(), 1, uint16(size), payload)
		sendFrames(t, l, tt.wrap(request, l.PeerHardwareAddr(), to, l.HardwareAddr()))
		want = append(want, packet.EchoReply(own.Addr(), peer, 1, uint16(size), payload).String())
		got = append(got, tt.unwrap(readFrame(t, l)).String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("replies (-want +got):\n%s", diff)
	}
}

// keyPair returns a private key of WireGuard and its public key.
func keyPair(t testing.TB) (private, public [32]byte) {
	t.Helper()
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return [32]byte(k.Bytes()), [32]byte(k.PublicKey().Bytes())
}

// Two hosts that are joined by a wire talk through a tunnel or a port, by datagrams as large as the MTU of that.
func TestDevicesOverWiresCarryBothWays(t *testing.T) {
	t.Parallel()
	privateA, publicA := keyPair(t)
	privateB, publicB := keyPair(t)
	to := func(public [32]byte, endpoint, allowed string) []netnsenv.WireGuardPeer {
		return []netnsenv.WireGuardPeer{{PublicKey: public, PresharedKey: [32]byte{1}, Endpoint: addrPort(endpoint), AllowedIPs: prefixes(allowed, "2001:db8::/64")}}
	}
	addresses := [2][]netip.Prefix{prefixes("10.1.0.1/24", "2001:db8::1/64"), prefixes("10.1.0.2/24", "2001:db8::2/64")}
	ends := netnsenv.Wire{A: end(nil, "192.0.2.1/24"), B: end(nil, "192.0.2.2/24")}
	ports := netnsenv.Wire{A: netnsenv.LinkConfig{Port: ofD}, B: netnsenv.LinkConfig{Port: ofD}}
	for name, tt := range map[string]struct {
		kinds [2]netnsenv.DeviceKind
		wire  netnsenv.Wire
		mtu   int
	}{
		"WireGuard": {[2]netnsenv.DeviceKind{
			netnsenv.WireGuard{PrivateKey: privateA, ListenPort: 51820, Mark: 1, Peers: to(publicB, "192.0.2.2:51820", "10.1.0.2/32")},
			netnsenv.WireGuard{PrivateKey: privateB, ListenPort: 51820, Peers: to(publicA, "192.0.2.1:51820", "10.1.0.1/32")},
		}, ends, 1420},
		"VXLAN": {[2]netnsenv.DeviceKind{
			netnsenv.VXLAN{ID: 9, Remote: netip.MustParseAddr("192.0.2.2")}, netnsenv.VXLAN{ID: 9, Remote: netip.MustParseAddr("192.0.2.1")},
		}, ends, 1450},
		"bridge": {[2]netnsenv.DeviceKind{netnsenv.Bridge{}, netnsenv.Bridge{}}, ports, 1500},
		"bond":   {[2]netnsenv.DeviceKind{netnsenv.Bond{}, netnsenv.Bond{}}, ports, 1500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var envs [2]*netnsenv.Env
			for i := range envs {
				cfg := noLinks
				cfg.Devices = []netnsenv.Device{{Name: "d", Kind: tt.kinds[i], Prefixes: addresses[i], ARP: true}}
				if name == "VXLAN" {
					cfg.Devices[0].MTU = tt.mtu
				}
				envs[i] = open(t, cfg)
			}
			join(t, envs[0], envs[1], tt.wire)
			for f, headers := range []int{20 + 8, 40 + 8} {
				var sockets [2]net.PacketConn
				for i, e := range envs {
					c, err := e.ListenPacket(t.Context(), "udp", netip.AddrPortFrom(addresses[i][f].Addr(), 7).String())
					if err != nil {
						t.Fatal(err)
					}
					if err := c.SetDeadline(latest(t)); err != nil {
						t.Fatal(err)
					}
					sockets[i] = c
				}
				buf := make([]byte, packet.MaxLength)
				for i, from := range sockets {
					size := tt.mtu - headers
					if _, err := from.WriteTo(make([]byte, size), sockets[1-i].LocalAddr()); err != nil {
						t.Fatal(err)
					}
					if n, _, err := sockets[1-i].ReadFrom(buf); n != size || err != nil {
						t.Errorf("to %v: %d bytes of %d, %v", sockets[1-i].LocalAddr(), n, size, err)
					}
				}
			}
		})
	}
}

// After each fence what came in over a device has been answered, with every CPU busy, and what it left has arrived at the far end.
// CTEXP_TRIES=100000 tries more often.
func TestFenceIsFinalOverDevices(t *testing.T) {
	stop := keepBusy(t)
	defer stop()
	for name, tt := range deviceTests {
		t.Run(name, func(t *testing.T) {
			env := open(t, tt.cfg)
			l := env.Links()[0]
			to, wrap := l.HardwareAddr(), tt.wrap
			if wrap == nil {
				wrap = toItsAddress
			} else {
				var err error
				if to, err = env.HardwareAddr("d"); err != nil {
					t.Fatal(err)
				}
			}
			const burst = 40
			missing, buf := 0, make([]byte, 2000)
			n := min(tries(25), 20_000) / 5
			for range n {
				var frames []packet.Frame
				for i := range burst {
					frames = append(frames, wrap(packet.Echo(peer, own.Addr(), 1, uint16(i), nil), l.PeerHardwareAddr(), to, l.HardwareAddr()))
				}
				sendFrames(t, l, frames...)
				for range burst {
					if _, err := l.ReadNow(buf); err != nil {
						missing++
						break
					}
				}
				if missing > 0 {
					break
				}
			}
			if missing > 0 {
				t.Error("after a fence an answer was not back")
			}
		})
	}
}

// The settings of ports decide by which of them a bridge sends frames on.
func TestPortsOfABridge(t *testing.T) {
	t.Parallel()
	only := func(id uint16) []netnsenv.PortVLAN { return []netnsenv.PortVLAN{{ID: id}, {ID: 99, Tagged: true}} }
	for name, tt := range map[string]struct {
		bridge netnsenv.Bridge
		ports  [2]netnsenv.Port
		want   string
	}{
		"default":         {netnsenv.Bridge{}, [2]netnsenv.Port{}, "eth1"},
		"isolated":        {netnsenv.Bridge{}, [2]netnsenv.Port{{Isolated: true}, {Isolated: true}}, ""},
		"one is isolated": {netnsenv.Bridge{}, [2]netnsenv.Port{{Isolated: true}, {}}, "eth1"},
		"hairpin":         {netnsenv.Bridge{}, [2]netnsenv.Port{{Hairpin: true}, {}}, "eth0 eth1"},
		"one VLAN":        {netnsenv.Bridge{VLANFiltering: true}, [2]netnsenv.Port{{VLANs: only(5)}, {VLANs: only(5)}}, "eth1"},
		"two VLANs":       {netnsenv.Bridge{VLANFiltering: true}, [2]netnsenv.Port{{VLANs: only(5)}, {VLANs: only(6)}}, ""},
		"VLAN 1":          {netnsenv.Bridge{VLANFiltering: true}, [2]netnsenv.Port{{}, {VLANs: only(1)}}, "eth1"},
		"no VLAN":         {netnsenv.Bridge{VLANFiltering: true}, [2]netnsenv.Port{{}, {VLANs: []netnsenv.PortVLAN{}}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := netnsenv.Config{Devices: []netnsenv.Device{{Name: "br0", Kind: tt.bridge, ARP: true}}}
			for i, p := range tt.ports {
				p.Of = "br0"
				cfg.Links = append(cfg.Links, netnsenv.LinkConfig{Name: fmt.Sprintf("eth%d", i), Port: p})
			}
			env := open(t, cfg)
			l := env.Link("eth0")
			f := packet.Echo(peer, own.Addr(), 1, 1, nil).Frame(l.PeerHardwareAddr(), nf.MAC{2, 0, 0, 0, 0, 9})
			sendFrames(t, l, f)
			if got := leftBy(t, env); got != tt.want {
				t.Errorf("it left by %q, want %q", got, tt.want)
			}
		})
	}
}

// A device has the address that frames to it need, and what there is not is an error with its name.
func TestHardwareAddr(t *testing.T) {
	t.Parallel()
	cfg := over(ofD, netnsenv.Bridge{})
	cfg.Devices[0].ARP = true
	env := open(t, cfg)
	d, err := env.HardwareAddr("d")
	if err != nil || d != env.Links()[0].HardwareAddr() {
		t.Errorf("%v, %v, want that of the only port, %v", d, err, env.Links()[0].HardwareAddr())
	}
	if _, err := env.HardwareAddr("x"); err == nil || err.Error() != `netnsenv: address of "x": SIOCGIFINDEX: no such device` {
		t.Errorf("of none: %v", err)
	}
	if got := env.String(); got != "eth0 (veth); d (bridge) 10.1.0.1/24" {
		t.Errorf("the Env is %q", got)
	}
	if err := env.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := env.HardwareAddr("d"); !errors.Is(err, netnsenv.ErrClosed) {
		t.Errorf("of a closed Env: %v", err)
	}
}
