package netnsenv

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Device is an interface of the host under test that lies on or over its links: a bridge, a VLAN, a tunnel. Its packets
// arrive and leave by a link (or a Wire), where the experiment writes and reads them; a Device has no end of its own there.
//
//	netnsenv.Config{
//		Links:   []netnsenv.LinkConfig{{Name: "eth0", Port: netnsenv.Port{Of: "br0"}}},
//		Devices: []netnsenv.Device{{Name: "br0", Kind: netnsenv.Bridge{}, Prefixes: []netip.Prefix{host}}},
//	}
//
// A bridge, a bond and a VRF have ports (Port.Of). A packet written to a link that is a port arrives at them. Frames of a
// VLAN need the tag, those for a Macvlan its address (Env.HardwareAddr): both are written by Link.WriteFrame.
//
// What an Env promises of its links holds with devices over them, with these exceptions. Captures show a packet at each
// interface that it passes, as tcpdump -i any does. A VRF passes each packet through the hooks twice, once with the port as its
// interface and once with the VRF, so that probes count it twice. Fence does not wait for what the kernel leaves to its
// workers: packets of WireGuard, and broadcasts and multicasts to a Macvlan or an IPvlan; wait for their effect.
type Device struct {
	// Name of the interface, at most 15 bytes.
	Name string
	// Kind is one of Bridge, VLAN, Dummy, Macvlan, IPvlan, VXLAN, WireGuard, Bond and VRF.
	Kind DeviceKind
	// Port makes the device a port of another, such as a VLAN that is a port of a bridge.
	Port Port
	// Prefixes are the host's addresses on the device, with their prefix lengths.
	Prefixes []netip.Prefix
	// Routes go through this device, without a gateway. Those with one, with a metric or in a table are in Config.Routes.
	Routes []netip.Prefix
	// MTU is the size in bytes of the largest packet. Zero means the kernel's default: that of the lower interface, less what a
	// VXLAN with a Parent (50) adds; 1500 without one; 1420 for WireGuard.
	MTU int
	// HardwareAddr is the Ethernet address; zero: the kernel's choice. An IPvlan has that of its parent, and takes none.
	HardwareAddr nf.MAC
	// Down leaves the interface down, as with a link.
	Down bool
	// ARP enables ARP and neighbour discovery, as on a host. By default the host asks for no neighbours. It sends its packets
	// to Config.Neighbours and, for all others, on a Bridge, Macvlan or IPvlan to 00:00:5e:00:53:01, which is nobody's
	// address, so that a bridge sends them to all ports; on other kinds to the device's own address, as on a link. The
	// former takes a rule that writes frames, which kernels before 5.16 do not have and newer ones than 6.18 leave to the host's
	// root (seen: 7.3); the device then needs ARP or Neighbours, and packets to others are lost.
	ARP bool
}

// DeviceKind is the kind of a Device, with its parameters.
type DeviceKind interface {
	check(d Device, c *Config) error // called after the interfaces before d in the Config are known to be valid
	lower() string                   // the interface that the device lies on; "" if none
	ethernet() bool                  // whether its packets have Ethernet headers for the host
	fmt.Stringer
}

// Port makes an interface a port of a Device. The zero Port makes it a port of none.
type Port struct {
	// Of is the name of a Bridge, Bond or VRF. Ports of a bridge or a bond are links of Ethernet (Veth), which is what Auto
	// then means, and usually have no Prefixes.
	Of string
	// VLANs are those of which a Bridge with VLANFiltering lets frames through at the port. Nil means VLAN 1, untagged.
	VLANs []PortVLAN
	// Hairpin lets a bridge send frames back through the port at which they arrived.
	Hairpin bool
	// Isolated keeps a bridge from passing frames between this port and other isolated ones.
	Isolated bool
}

// PortVLAN is a VLAN at a port of a bridge.
type PortVLAN struct {
	ID uint16 // 1 to 4094
	// Tagged frames carry the VLAN's tag at the port. Frames of a VLAN that is not Tagged leave without, and frames that arrive
	// without a tag belong to it; a port has at most one such VLAN.
	Tagged bool
}

// Bridge is a bridge. It has no spanning tree protocol, so that its ports forward at once, and no multicast snooping, for which it
// would send reports of its own. What it passes on meets iptables and
// conntrack only with the sysctl net.bridge.bridge-nf-call-iptables, which is 0 unless Config.Sysctls has it.
type Bridge struct {
	// VLANFiltering makes the bridge keep VLANs apart.
	VLANFiltering bool
	// VLANs are those of the bridge itself, as a port to the host. Nil means VLAN 1, untagged.
	VLANs []PortVLAN
}

// VLAN is a VLAN of another interface, of Ethernet.
type VLAN struct {
	Parent string // a link, or a Device before this one
	ID     uint16 // 1 to 4094
	AD     bool   // 802.1ad, the outer tag of QinQ, instead of 802.1Q
}

// Dummy is an interface that drops what is sent to it; for addresses that belong to no link.
type Dummy struct{}

// Macvlan is an interface with an Ethernet address of its own on another one. A frame to that address arrives here instead.
type Macvlan struct {
	Parent string      // a link, or a Device before this one
	Mode   MacvlanMode // zero: MacvlanBridge
}

// MacvlanMode says how macvlans of one parent reach each other.
type MacvlanMode uint8

// The modes of a Macvlan.
const (
	MacvlanBridge MacvlanMode = iota
	MacvlanPrivate
	MacvlanVEPA
	MacvlanPassthru
)

// IPvlan is an interface with the Ethernet address of another one. A packet to an address of its own arrives here instead.
type IPvlan struct {
	Parent string     // a link, or a Device before this one
	Mode   IPvlanMode // zero: IPvlanL2
}

// IPvlanMode says at which layer an IPvlan is separate from its parent. Only with IPvlanL3S do its packets pass all hooks.
type IPvlanMode uint8

// The modes of an IPvlan.
const (
	IPvlanL2 IPvlanMode = iota
	IPvlanL3
	IPvlanL3S
)

// VXLAN is a tunnel of Ethernet frames in UDP.
type VXLAN struct {
	ID     uint32     // the network's identifier, 0 to 16777215
	Parent string     // the interface that its packets leave by; empty: that of the route
	Local  netip.Addr // source of its packets; zero: that of the route
	Remote netip.Addr // where frames go whose address has not been learned
	Port   uint16     // UDP port of both ends; zero: 4789
}

// WireGuard is a WireGuard tunnel.
type WireGuard struct {
	PrivateKey [32]byte        // as in crypto/ecdh, X25519
	ListenPort uint16          // zero: any
	Mark       uint32          // firewall mark of its own packets; zero: none
	Peers      []WireGuardPeer // with whom it talks
}

// WireGuardPeer is a peer of a WireGuard tunnel.
type WireGuardPeer struct {
	PublicKey    [32]byte       // as in crypto/ecdh, X25519
	PresharedKey [32]byte       // zero: none
	Endpoint     netip.AddrPort // zero: learned from the peer's packets
	AllowedIPs   []netip.Prefix // addresses that are the peer's, in both directions; routes to them are the caller's
	Keepalive    time.Duration  // in whole seconds; zero: none
}

// Bond joins its ports to one interface of Ethernet. It sends no packets of its own, and so knows no LACP.
type Bond struct {
	Mode BondMode // zero: BondActiveBackup
}

// BondMode says by which port a Bond sends.
type BondMode uint8

// The modes of a Bond.
const (
	BondActiveBackup BondMode = iota
	BondRoundRobin
	BondXOR
	BondBroadcast
)

// VRF is a domain of routing: packets that arrive at its ports, and of sockets bound to it, use its table. The Routes of a port
// are in that table, and different VRFs may have the same addresses.
type VRF struct {
	Table uint32 // the routing table, not 0
}

// String returns the kernel's name of the kind, as ip -d link shows it.
func (Bridge) String() string { return "bridge" }

// String returns the kernel's name of the kind, as ip -d link shows it.
func (VLAN) String() string { return "vlan" }

// String returns the kernel's name of the kind, as ip -d link shows it.
func (Dummy) String() string { return "dummy" }

// String returns the kernel's name of the kind, as ip -d link shows it.
func (Macvlan) String() string { return "macvlan" }

// String returns the kernel's name of the kind, as ip -d link shows it.
func (IPvlan) String() string { return "ipvlan" }

// String returns the kernel's name of the kind, as ip -d link shows it.
func (VXLAN) String() string { return "vxlan" }

// String returns the kernel's name of the kind, as ip -d link shows it.
func (WireGuard) String() string { return "wireguard" }

// String returns the kernel's name of the kind, as ip -d link shows it.
func (Bond) String() string { return "bond" }

// String returns the kernel's name of the kind, as ip -d link shows it.
func (VRF) String() string { return "vrf" }

func (Bridge) lower() string    { return "" }
func (v VLAN) lower() string    { return v.Parent }
func (Dummy) lower() string     { return "" }
func (m Macvlan) lower() string { return m.Parent }
func (i IPvlan) lower() string  { return i.Parent }
func (v VXLAN) lower() string   { return v.Parent }
func (WireGuard) lower() string { return "" }
func (Bond) lower() string      { return "" }
func (VRF) lower() string       { return "" }

func (Bridge) ethernet() bool    { return true }
func (VLAN) ethernet() bool      { return true }
func (Dummy) ethernet() bool     { return true }
func (Macvlan) ethernet() bool   { return true }
func (i IPvlan) ethernet() bool  { return i.Mode == IPvlanL2 }
func (VXLAN) ethernet() bool     { return true }
func (WireGuard) ethernet() bool { return false }
func (Bond) ethernet() bool      { return true }
func (VRF) ethernet() bool       { return false }

func (b Bridge) check(Device, *Config) error {
	if b.VLANs != nil && !b.VLANFiltering {
		return errors.New("VLANs without VLANFiltering")
	}
	return checkVLANs(b.VLANs)
}

func (v VLAN) check(d Device, c *Config) error {
	if v.ID < 1 || v.ID > maxVLAN {
		return fmt.Errorf("VLAN %d: want 1 to %d", v.ID, maxVLAN)
	}
	return c.needEthernet(v.Parent)
}

func (Dummy) check(Device, *Config) error { return nil }

func (m Macvlan) check(d Device, c *Config) error {
	if m.Mode > MacvlanPassthru {
		return fmt.Errorf("macvlan mode %d: want MacvlanBridge to MacvlanPassthru", m.Mode)
	}
	return c.needEthernet(m.Parent)
}

func (i IPvlan) check(d Device, c *Config) error {
	if i.Mode > IPvlanL3S {
		return fmt.Errorf("ipvlan mode %d: want IPvlanL2 to IPvlanL3S", i.Mode)
	}
	return c.needEthernet(i.Parent)
}

func (v VXLAN) check(d Device, c *Config) error {
	if v.ID >= 1<<24 {
		return fmt.Errorf("VXLAN %d: want 0 to %d", v.ID, 1<<24-1)
	}
	if v.Local.IsValid() && v.Remote.IsValid() && v.Local.Is4() != v.Remote.Is4() {
		return fmt.Errorf("local %v and remote %v are not of one family", v.Local, v.Remote)
	}
	if v.Parent != "" && !c.hasInterface(v.Parent) {
		return fmt.Errorf("there is no link or earlier device %q", v.Parent)
	}
	return nil
}

func (w WireGuard) check(Device, *Config) error {
	if w.PrivateKey == [32]byte{} {
		return errors.New("no PrivateKey")
	}
	for i, p := range w.Peers {
		switch {
		case p.PublicKey == [32]byte{}:
			return fmt.Errorf("peer %d: no PublicKey", i)
		case p.Keepalive%time.Second != 0 || p.Keepalive < 0 || p.Keepalive > 65535*time.Second:
			return fmt.Errorf("peer %d: keepalive %v: want whole seconds, at most 65535", i, p.Keepalive)
		}
		for _, a := range p.AllowedIPs {
			if !a.IsValid() {
				return fmt.Errorf("peer %d: AllowedIPs has a prefix that is none", i)
			}
		}
	}
	return nil
}

func (b Bond) check(Device, *Config) error {
	if b.Mode > BondBroadcast {
		return fmt.Errorf("bond mode %d: want BondActiveBackup to BondBroadcast", b.Mode)
	}
	return nil
}

func (v VRF) check(Device, *Config) error {
	if v.Table == 0 {
		return errors.New("a VRF needs a Table")
	}
	return nil
}

const maxVLAN = 4094

func checkVLANs(vlans []PortVLAN) error {
	untagged := uint16(0)
	for i, v := range vlans {
		switch {
		case v.ID < 1 || v.ID > maxVLAN:
			return fmt.Errorf("VLAN %d: want 1 to %d", v.ID, maxVLAN)
		case slices.ContainsFunc(vlans[:i], func(o PortVLAN) bool { return o.ID == v.ID }):
			return fmt.Errorf("VLAN %d twice", v.ID)
		case !v.Tagged && untagged != 0:
			return fmt.Errorf("VLANs %d and %d are both untagged", untagged, v.ID)
		case !v.Tagged:
			untagged = v.ID
		}
	}
	return nil
}

// normalizeDevices checks c.Devices and replaces zero values. It makes links of Ethernet of those that have devices that need it.
func (c *Config) normalizeDevices() error {
	devices := c.Devices
	c.Devices = nil
	for i, d := range devices {
		if d.Name == "" {
			return fmt.Errorf("devices[%d]: it has no name", i)
		}
		if err := checkName(d.Name); err != nil {
			return fmt.Errorf("device %q: %w", d.Name, err)
		}
		if d.Name == "lo" || c.hasInterface(d.Name) {
			return fmt.Errorf("device %q: the name is taken", d.Name)
		}
		if d.Kind == nil {
			return fmt.Errorf("device %q: it has no Kind, such as netnsenv.Bridge{}", d.Name)
		}
		if v, ok := d.Kind.(VXLAN); ok && v.Port == 0 {
			v.Port = 4789
			d.Kind = v
		}
		if err := d.Kind.check(d, c); err != nil {
			return fmt.Errorf("device %q (%v): %w", d.Name, d.Kind, err)
		}
		if d.MTU != 0 && (d.MTU < 68 || d.MTU > 65535) {
			return fmt.Errorf("device %q: MTU %d: want 68 to 65535", d.Name, d.MTU)
		}
		if err := checkPrefixes(d.Prefixes, d.Routes, d.Down); err != nil {
			return fmt.Errorf("device %q: %w", d.Name, err)
		}
		_, shares := d.Kind.(IPvlan)
		if err := checkMAC(d.HardwareAddr, d.Kind.ethernet() && !shares); err != nil {
			return fmt.Errorf("device %q (%v): %w", d.Name, d.Kind, err)
		}
		c.Devices = append(c.Devices, d)
	}
	for i := range c.Links {
		if err := c.checkPort(c.Links[i].Name, c.Links[i].Port); err != nil {
			return fmt.Errorf("link %q: %w", c.Links[i].Name, err)
		}
	}
	for _, d := range c.Devices {
		if err := c.checkPort(d.Name, d.Port); err != nil {
			return fmt.Errorf("device %q: %w", d.Name, err)
		}
	}
	return nil
}

func (c *Config) checkPort(name string, p Port) error {
	if p.Of == "" {
		if p.VLANs != nil || p.Hairpin || p.Isolated {
			return errors.New("its Port has no Of: want the name of a bridge")
		}
		return nil
	}
	of, ok := c.device(p.Of)
	if !ok || of.Name == name {
		return fmt.Errorf("port of %q: there is no such device in Config.Devices", p.Of)
	}
	switch k := of.Kind.(type) {
	case Bridge:
		if p.VLANs != nil && !k.VLANFiltering {
			return fmt.Errorf("port of %q: it has VLANs, but the bridge has no VLANFiltering", p.Of)
		}
		if err := checkVLANs(p.VLANs); err != nil {
			return fmt.Errorf("port of %q: %w", p.Of, err)
		}
		return c.needEthernet(name)
	case Bond, VRF:
		if p.VLANs != nil || p.Hairpin || p.Isolated {
			return fmt.Errorf("port of %q: VLANs, Hairpin and Isolated are of ports of a bridge, not of a %v", p.Of, of.Kind)
		}
		if _, ok := of.Kind.(Bond); ok {
			return c.needEthernet(name)
		}
		return nil
	}
	return fmt.Errorf("port of %q: a %v has no ports", p.Of, of.Kind)
}

// needEthernet returns an error if the interface is not there or has no Ethernet. It makes a Veth of a link that is Auto.
func (c *Config) needEthernet(name string) error {
	for i := range c.Links {
		l := &c.Links[i]
		if l.Name != name {
			continue
		}
		if l.Kind == Tun {
			return fmt.Errorf("link %q is a tun, which has no Ethernet: set LinkConfig.Kind to netnsenv.Veth", name)
		}
		l.Kind = Veth
		return nil
	}
	d, ok := c.device(name)
	if !ok {
		return fmt.Errorf("there is no link or earlier device %q", name)
	}
	if !d.Kind.ethernet() {
		return fmt.Errorf("device %q (%v) has no Ethernet", name, d.Kind)
	}
	return nil
}

// device returns the device with a name.
func (c *Config) device(name string) (Device, bool) {
	for _, d := range c.Devices {
		if d.Name == name {
			return d, true
		}
	}
	return Device{}, false
}

// hasInterface reports whether a link or a device has the name.
func (c *Config) hasInterface(name string) bool {
	_, ok := c.device(name)
	return ok || slices.ContainsFunc(c.Links, func(l LinkConfig) bool { return l.Name == name })
}

// table returns the routing table of an interface that is a port: that of the VRF; else 0, the main one.
func (c *Config) table(p Port) uint32 {
	for range len(c.Devices) {
		d, ok := c.device(p.Of)
		if !ok {
			break
		}
		if v, ok := d.Kind.(VRF); ok {
			return v.Table
		}
		p = d.Port
	}
	return 0
}

// Behind returns the name of the link that an address is behind: that with the longest prefix that contains it, among the
// Prefixes and Routes of the link and of the devices whose port it is, and Config.Routes through them. It returns the first
// link if no prefix contains the address, and "" if there are no links. Of a Config with defaults left out it knows only what is
// there; see Env.Config.
func (c Config) Behind(a netip.Addr) string {
	if len(c.Links) == 0 {
		return ""
	}
	best, name := -1, c.Links[0].Name
	for _, l := range c.Links {
		if bits := c.behind(l, a); bits > best {
			best, name = bits, l.Name
		}
	}
	return name
}

// IsBehind reports whether a prefix of the Config says that an address is behind the link of that name, and not behind another one by
// a longer prefix, and it is not the host's own. Of routes that are added later it knows nothing.
func (c Config) IsBehind(a netip.Addr, link string) bool {
	a = a.Unmap()
	own := func(p netip.Prefix) bool { return p.Addr() == a }
	known := false
	for _, l := range c.Links {
		if slices.ContainsFunc(l.Prefixes, own) {
			return false
		}
		known = known || l.Name == link && c.behind(l, a) >= 0
	}
	isOwn := slices.ContainsFunc(c.Devices, func(d Device) bool { return slices.ContainsFunc(d.Prefixes, own) })
	return known && !isOwn && c.Behind(a) == link
}

func (c *Config) behind(l LinkConfig, a netip.Addr) int {
	best := longest(a, l.Prefixes, l.Routes)
	names := []string{l.Name}
	port := l.Port
	for range len(c.Devices) { // not forever, if devices are ports of each other
		d, ok := c.device(port.Of)
		if !ok {
			break
		}
		best = max(best, longest(a, d.Prefixes, d.Routes))
		names, port = append(names, d.Name), d.Port
	}
	for _, r := range c.Routes {
		if slices.Contains(names, r.Dev) || r.Dev == "" && r.Via.IsValid() && longest(r.Via, l.Prefixes) >= 0 {
			best = max(best, longest(a, []netip.Prefix{r.To}))
		}
	}
	return best
}

// Over returns the names of the devices that lie over an interface: those whose port or parent it is, and those over them.
func (c Config) Over(name string) []string {
	var over []string
	port := c.portOf(name).Of
	for _, d := range c.Devices {
		if d.Name == port || d.Kind.lower() == name {
			over = append(append(over, d.Name), c.Over(d.Name)...)
		}
	}
	return over
}

// longest returns the length of the longest prefix that contains an address, or -1.
func longest(a netip.Addr, lists ...[]netip.Prefix) int {
	best := -1
	for _, list := range lists {
		for _, p := range list {
			if p.Masked().Contains(a) {
				best = max(best, p.Bits())
			}
		}
	}
	return best
}

// hasIPv6 reports whether the host has an IPv6 address.
func (c *Config) hasIPv6() bool {
	is6 := func(p netip.Prefix) bool { return nf.FamilyOf(p.Addr()) == nf.IPv6 }
	for _, l := range c.Links {
		if slices.ContainsFunc(l.Prefixes, is6) {
			return true
		}
	}
	for _, d := range c.Devices {
		if slices.ContainsFunc(d.Prefixes, is6) {
			return true
		}
	}
	return false
}
