package netnsenv

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// Attributes of interfaces that only Like reads (include/uapi/linux/if_link.h).
const (
	bridgeVLANFiltering = 7  // IFLA_BR_VLAN_FILTERING
	bridgePortState     = 1  // IFLA_BRPORT_STATE
	bridgeForwarding    = 3  // BR_STATE_FORWARDING, include/uapi/linux/if_bridge.h
	vxlanCollect        = 25 // IFLA_VXLAN_COLLECT_METADATA
	xdpAttached         = 2  // IFLA_XDP_ATTACHED
	queueKind           = 1  // TCA_KIND, include/uapi/linux/rtnetlink.h
)

// attrs are the attributes of a message by their type. Getters return zero for what is missing or short.
type attrs map[uint16][]byte

func attributesOf(b []byte) (attrs, error) {
	a := attrs{}
	err := nfnl.Attributes(b, 0, func(typ uint16, _ int, v []byte) error {
		a[typ] = v
		return nil
	})
	return a, err
}

func (a attrs) u8(typ uint16) uint8 {
	if v := a[typ]; len(v) >= 1 {
		return v[0]
	}
	return 0
}

func (a attrs) u16(typ uint16, order binary.ByteOrder) uint16 {
	if v := a[typ]; len(v) >= 2 {
		return order.Uint16(v)
	}
	return 0
}

func (a attrs) u32(typ uint16) uint32 {
	if v := a[typ]; len(v) >= 4 {
		return binary.NativeEndian.Uint32(v)
	}
	return 0
}

func (a attrs) text(typ uint16) string { return string(bytes.TrimRight(a[typ], "\x00")) }

func (a attrs) addr(types ...uint16) netip.Addr {
	for _, typ := range types {
		if addr, ok := netip.AddrFromSlice(a[typ]); ok {
			return addr
		}
	}
	return netip.Addr{}
}

func (a attrs) nested(typ uint16) attrs {
	n, err := attributesOf(a[typ])
	if err != nil {
		return attrs{}
	}
	return n
}

// face is an interface of the namespace.
type face struct {
	index    uint32
	hardware uint16 // ARPHRD_…
	flags    uint32
	name     string
	kind     string
	all      attrs
	data     attrs // of the kind
	port     attrs // as a port of its master
	portKind string
}

func (f *face) up() bool       { return f.flags&unix.IFF_UP != 0 }
func (f *face) ethernet() bool { return f.hardware == unix.ARPHRD_ETHER }
func (f *face) master() uint32 { return f.all.u32(unix.IFLA_MASTER) }

// lower is the index of the interface of the same namespace that it lies on, or 0.
func (f *face) lower() uint32 {
	if _, elsewhere := f.all[unix.IFLA_LINK_NETNSID]; elsewhere {
		return 0
	}
	if f.kind == (VXLAN{}).String() {
		return f.data.u32(vxlanLink)
	}
	return f.all.u32(unix.IFLA_LINK)
}

func parseFace(b []byte) (*face, error) {
	if len(b) < unix.SizeofIfInfomsg {
		return nil, fmt.Errorf("interface: message of %d bytes", len(b))
	}
	a, err := attributesOf(b[unix.SizeofIfInfomsg:])
	if err != nil {
		return nil, fmt.Errorf("interface: %w", err)
	}
	info := a.nested(unix.IFLA_LINKINFO)
	return &face{
		index: binary.NativeEndian.Uint32(b[4:]), hardware: binary.NativeEndian.Uint16(b[2:]), flags: binary.NativeEndian.Uint32(b[8:]),
		name: a.text(unix.IFLA_IFNAME), kind: info.text(unix.IFLA_INFO_KIND), all: a,
		data: info.nested(unix.IFLA_INFO_DATA), port: info.nested(unix.IFLA_INFO_SLAVE_DATA), portKind: info.text(unix.IFLA_INFO_SLAVE_KIND),
	}, nil
}

// fallbackTunnels are interfaces that every namespace has while the module is loaded (Documentation/admin-guide/sysctl/net.rst,
// fb_tunnels_only_for_init_net).
var fallbackTunnels = []string{"tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"}

// tunnels are kinds whose packets leave a Link as they are.
var tunnels = []string{
	"wireguard", "ipip", "gre", "gretap", "erspan", "sit", "ip6tnl", "ip6gre", "ip6gretap", "ip6erspan", "vti", "vti6", "xfrm", "geneve", "gtp", "vxlan", "amt", "bareudp", "ovpn",
}

// interfaces makes links and devices of the interfaces.
func (l *liking) interfaces() error {
	for _, b := range l.seen.Interfaces {
		f, err := parseFace(b)
		if err != nil {
			return err
		}
		l.faces = append(l.faces, f)
	}
	vlans, err := l.vlans()
	if err != nil {
		return err
	}
	waiting := slices.Clone(l.faces)
	for len(waiting) > 0 { // each device behind what it lies on
		var later []*face
		for _, f := range waiting {
			if under := l.face(f.lower()); under != nil && under != f && f.kind != "veth" && slices.Contains(waiting, under) {
				later = append(later, f)
			} else {
				l.interfaceOf(f, vlans)
			}
		}
		if len(later) == len(waiting) { // a ring, which the kernel does not let be
			return fmt.Errorf("interfaces lie on each other: %s", later[0].name)
		}
		waiting = later
	}
	l.ports(vlans)
	l.queues()
	return nil
}

func (l *liking) face(index uint32) *face {
	for _, f := range l.faces {
		if f.index == index {
			return f
		}
	}
	return nil
}

// interfaceOf makes a link or a device of an interface.
func (l *liking) interfaceOf(f *face, vlans map[uint32][]PortVLAN) {
	switch err := checkName(f.name); {
	case f.name == "lo":
		l.names[f.index] = f.name
		return
	case strings.HasPrefix(f.name, ours.FarPrefix): // the namespace is an Env
		return
	case slices.Contains(fallbackTunnels, f.name) && !f.up():
		return // the Env has it, too
	case err != nil:
		l.miss(PartInterface, f.name, "%v", err)
		return
	}
	l.notes(f)
	kind := l.kindOf(f, vlans)
	mtu := int(f.all.u32(unix.IFLA_MTU))
	if _, vrf := kind.(VRF); vrf {
		mtu = 0 // its own, which is larger than any packet (drivers/net/vrf.c, vrf_setup)
	}
	if most := 65535; mtu > most {
		l.miss(PartInterface, f.name, "its MTU of %d: it is %d in the Env", mtu, most)
		mtu = most
	}
	var mac nf.MAC
	if a := f.all[unix.IFLA_ADDRESS]; f.ethernet() && len(a) == len(mac) {
		mac = nf.MAC(a)
	}
	if f.up() {
		l.names[f.index] = f.name
	}
	if kind == nil {
		link := LinkConfig{Name: f.name, Prefixes: []netip.Prefix{}, Routes: []netip.Prefix{}, MTU: max(mtu, 68), HardwareAddr: mac, Down: !f.up()}
		if f.ethernet() {
			link.Kind = Veth
		}
		l.cfg.Links = append(l.cfg.Links, link)
		return
	}
	if _, shares := kind.(IPvlan); shares || !kind.ethernet() {
		mac = nf.MAC{}
	}
	if mtu < 68 {
		mtu = 0
	}
	l.cfg.Devices = append(l.cfg.Devices, Device{Name: f.name, Kind: kind, MTU: mtu, HardwareAddr: mac, Down: !f.up()})
}

// notes tells what an interface does that the Env's does not.
func (l *liking) notes(f *face) {
	noCarrier := f.up() && f.flags&unix.IFF_RUNNING == 0
	peer := l.face(f.lower())
	switch {
	case slices.Contains(tunnels, f.kind) && f.up() && (f.kind != "vxlan" || f.data.u8(vxlanCollect) != 0):
		l.miss(PartInterface, f.name, "its tunnel (%s): its packets leave by a link of this name as they are, and arrive there", f.kind)
	case f.kind == "veth" && peer != nil && peer.index < f.index && !strings.HasPrefix(peer.name, ours.FarPrefix):
		l.miss(PartInterface, f.name, "that %s is its other end: both are links", peer.name)
	case noCarrier && f.kind == "":
		l.miss(PartInterface, f.name, "that it has no carrier: in the Env it has one")
	}
	if f.all.nested(unix.IFLA_XDP).u8(xdpAttached) != 0 {
		l.miss(PartOther, "XDP of "+f.name, "a program decides about packets that arrive there")
	}
	if _, is := f.kindOfBond(); f.kind == "bond" && !is {
		l.miss(PartInterface, f.name, "mode %d of the bond: in the Env it is BondXOR", f.data.u8(bondMode))
	}
}

func (f *face) kindOfBond() (BondMode, bool) {
	mode, is := map[uint8]BondMode{0: BondRoundRobin, 1: BondActiveBackup, 2: BondXOR, 3: BondBroadcast}[f.data.u8(bondMode)]
	return mode, is
}

// kindOf returns the kind of an interface that is a Device, or nil.
func (l *liking) kindOf(f *face, vlans map[uint32][]PortVLAN) DeviceKind {
	lower := ""
	if under := l.face(f.lower()); under != nil && under.up() && l.isEthernet(under.name) {
		lower = under.name
	}
	switch f.kind {
	case "bridge":
		b := Bridge{VLANFiltering: f.data.u8(bridgeVLANFiltering) != 0}
		if b.VLANFiltering {
			b.VLANs = vlans[f.index]
		}
		return b
	case "bond":
		mode, is := f.kindOfBond()
		if !is {
			mode = BondXOR
		}
		return Bond{Mode: mode}
	case "vrf":
		return VRF{Table: f.data.u32(unix.IFLA_VRF_TABLE)}
	case "dummy":
		return Dummy{}
	}
	if !f.up() {
		return nil
	}
	switch {
	case f.kind == "vxlan" && f.data.u8(vxlanCollect) == 0:
		return VXLAN{
			ID: f.data.u32(vxlanID), Parent: l.names[f.lower()], Port: f.data.u16(vxlanPort, networkOrder),
			Local: f.data.addr(vxlanLocal, vxlanLocal6), Remote: f.data.addr(vxlanGroup, vxlanGroup6),
		}
	case lower == "": // it lies on an interface of another namespace, as those of containers do
		return nil
	case f.kind == "vlan":
		return VLAN{Parent: lower, ID: f.data.u16(unix.IFLA_VLAN_ID, binary.NativeEndian), AD: f.data.u16(unix.IFLA_VLAN_PROTOCOL, networkOrder) == unix.ETH_P_8021AD}
	case f.kind == "macvlan":
		modes := map[uint32]MacvlanMode{1: MacvlanPrivate, 2: MacvlanVEPA, 4: MacvlanBridge, 8: MacvlanPassthru}
		mode, is := modes[f.data.u32(unix.IFLA_MACVLAN_MODE)]
		if !is {
			l.miss(PartInterface, f.name, "its mode of a macvlan: in the Env it is MacvlanBridge")
		}
		return Macvlan{Parent: lower, Mode: mode}
	case f.kind == "ipvlan":
		return IPvlan{Parent: lower, Mode: IPvlanMode(f.data.u16(ipvlanMode, binary.NativeEndian))}
	}
	return nil
}

// isEthernet reports whether a copied interface has Ethernet.
func (l *liking) isEthernet(name string) bool {
	for _, link := range l.cfg.Links {
		if link.Name == name {
			return link.Kind == Veth
		}
	}
	d, ok := l.cfg.device(name)
	return ok && d.Kind.ethernet()
}

// vlans returns the VLANs of ports of bridges, and of bridges themselves, by the index of the interface.
func (l *liking) vlans() (map[uint32][]PortVLAN, error) {
	vlans := map[uint32][]PortVLAN{}
	for _, b := range l.seen.Bridges {
		f, err := parseFace(b)
		if err != nil {
			return nil, err
		}
		list := []PortVLAN{}
		err = nfnl.Attributes(f.all[unix.IFLA_AF_SPEC], 0, func(typ uint16, _ int, v []byte) error {
			if typ != bridgeVLANInfo || len(v) < 4 {
				return nil
			}
			flags, id := binary.NativeEndian.Uint16(v), binary.NativeEndian.Uint16(v[2:])
			const both = vlanInfoPVID | vlanInfoUntag
			if flags&both != 0 && flags&both != both {
				l.miss(PartInterface, f.name, "VLAN %d, which is untagged in one direction alone: in the Env it is tagged", id)
			}
			list = append(list, PortVLAN{ID: id, Tagged: flags&both != both})
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("VLANs of %s: %w", f.name, err)
		}
		vlans[f.index] = list
	}
	return vlans, nil
}

// ports makes ports of links and devices.
func (l *liking) ports(vlans map[uint32][]PortVLAN) {
	for _, f := range l.faces {
		if f.master() == 0 || !l.cfg.hasInterface(f.name) {
			continue
		}
		of := l.face(f.master())
		if of == nil {
			continue
		}
		p := Port{Of: of.name}
		d, _ := l.cfg.device(of.name)
		switch k := d.Kind.(type) {
		case Bridge:
			p.Hairpin, p.Isolated = f.port.u8(unix.IFLA_BRPORT_MODE) != 0, f.port.u8(unix.IFLA_BRPORT_ISOLATED) != 0
			if k.VLANFiltering {
				p.VLANs = vlans[f.index]
			}
			if f.up() && of.up() && f.flags&unix.IFF_RUNNING != 0 && f.port.u8(bridgePortState) != bridgeForwarding {
				l.miss(PartInterface, f.name, "that its bridge %s does not forward at this port", of.name)
			}
		case Bond, VRF:
		default:
			l.miss(PartInterface, f.name, "that it is a port of %s (%s)", of.name, f.portKind)
			continue
		}
		if _, vrf := d.Kind.(VRF); !vrf && !l.isEthernet(f.name) {
			l.miss(PartInterface, f.name, "that it is a port of %s: it has no Ethernet", of.name)
			continue
		}
		for i := range l.cfg.Links {
			if l.cfg.Links[i].Name == f.name {
				l.cfg.Links[i].Port = p
			}
		}
		for i := range l.cfg.Devices {
			if l.cfg.Devices[i].Name == f.name {
				l.cfg.Devices[i].Port = p
			}
		}
	}
}

// usualQueues are queueing disciplines that do nothing to the few packets of an experiment.
var usualQueues = []string{"noqueue", "noop", "pfifo_fast", "pfifo", "bfifo", "fq_codel", "fq", "mq", "mqprio", "sfq", "codel"}

// queues notes queueing disciplines and filters.
func (l *liking) queues() {
	seen := map[string]bool{}
	for _, b := range l.seen.Queues {
		if len(b) < sizeofTcMsg {
			continue
		}
		a, err := attributesOf(b[sizeofTcMsg:])
		f := l.face(binary.NativeEndian.Uint32(b[4:]))
		if err != nil || f == nil {
			continue
		}
		kind := a.text(queueKind)
		if name := kind + " on " + f.name; !slices.Contains(usualQueues, kind) && !seen[name] {
			seen[name] = true
			l.miss(PartOther, name, "it and its filters may drop, delay, mark or redirect packets")
		}
	}
}

// addresses gives the interfaces their addresses.
func (l *liking) addresses() error {
	l.owners = map[netip.Addr]string{}
	for _, b := range l.seen.Addresses {
		if len(b) < unix.SizeofIfAddrmsg {
			return fmt.Errorf("address: message of %d bytes", len(b))
		}
		a, err := attributesOf(b[unix.SizeofIfAddrmsg:])
		if err != nil {
			return fmt.Errorf("address: %w", err)
		}
		f := l.face(binary.NativeEndian.Uint32(b[4:]))
		addr := a.addr(unix.IFA_LOCAL, unix.IFA_ADDRESS)
		if f == nil || !addr.IsValid() || f.name == "lo" { // those of lo are local routes
			continue
		}
		flags := uint32(b[2]) | a.u32(unix.IFA_FLAGS)
		l.address(f, netip.PrefixFrom(addr, int(b[1])), a.addr(unix.IFA_ADDRESS), flags)
	}
	return nil
}

// address gives an interface an address. The kernel's route to its network is copied with the routes where the Env does not make it.
func (l *liking) address(f *face, p netip.Prefix, peer netip.Addr, flags uint32) {
	name := fmt.Sprintf("%v on %s", p, f.name)
	switch {
	case strings.HasPrefix(f.name, ours.FarPrefix):
		return
	case !l.cfg.hasInterface(f.name):
		l.miss(PartAddress, name, "the interface is not copied")
		return
	case !f.up():
		l.miss(PartAddress, name, "the interface is down")
		return
	case flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0:
		l.miss(PartAddress, name, "another host may have it: the host does not use it yet")
		return
	}
	if noHost(p) != "" || peer.IsValid() && peer != p.Addr() || flags&unix.IFA_F_NOPREFIXROUTE != 0 {
		if p.Bits() < p.Addr().BitLen()-1 && p.Addr().Is4() && peer == p.Addr() && noHost(p) == "" {
			l.miss(PartAddress, name, "the broadcast address of its network, to which it has no route of its own")
		}
		p = netip.PrefixFrom(p.Addr(), p.Addr().BitLen())
	}
	if noHost(p) != "" { // even alone
		l.miss(PartAddress, name, "%s", noHost(p))
		return
	}
	if other, taken := l.owners[p.Addr()]; taken {
		l.miss(PartAddress, name, "%s has it, too, and alone in the Env", other)
		return
	}
	l.owners[p.Addr()] = f.name
	for i := range l.cfg.Links {
		if link := &l.cfg.Links[i]; link.Name == f.name {
			link.Prefixes = append(link.Prefixes, p)
		}
	}
	for i := range l.cfg.Devices {
		if d := &l.cfg.Devices[i]; d.Name == f.name {
			d.Prefixes = append(d.Prefixes, p)
		}
	}
}

// prefixes returns the prefixes of a copied interface.
func (l *liking) prefixes(name string) []netip.Prefix {
	for _, link := range l.cfg.Links {
		if link.Name == name {
			return link.Prefixes
		}
	}
	d, _ := l.cfg.device(name)
	return d.Prefixes
}
