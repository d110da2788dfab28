package netnsenv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// Attributes that x/sys/unix lacks (include/uapi/linux/if_link.h, if_bridge.h).
const (
	ipvlanMode = 1 // IFLA_IPVLAN_MODE

	vxlanID     = 1  // IFLA_VXLAN_ID
	vxlanGroup  = 2  // IFLA_VXLAN_GROUP
	vxlanLink   = 3  // IFLA_VXLAN_LINK
	vxlanLocal  = 4  // IFLA_VXLAN_LOCAL
	vxlanPort   = 15 // IFLA_VXLAN_PORT
	vxlanGroup6 = 16 // IFLA_VXLAN_GROUP6
	vxlanLocal6 = 17 // IFLA_VXLAN_LOCAL6

	bondMode        = 1  // IFLA_BOND_MODE
	bondPeerNotif   = 17 // IFLA_BOND_NUM_PEER_NOTIF
	bridgeFlags     = 0  // IFLA_BRIDGE_FLAGS
	bridgeVLANInfo  = 2  // IFLA_BRIDGE_VLAN_INFO
	bridgeFlagsSelf = 2  // BRIDGE_FLAGS_SELF
	vlanInfoPVID    = 2  // BRIDGE_VLAN_INFO_PVID
	vlanInfoUntag   = 4  // BRIDGE_VLAN_INFO_UNTAGGED
)

// deviceModules are the modules of the kinds.
var deviceModules = map[string]string{"vlan": "8021q", "bond": "bonding"}

// linkRequest sends a request about an interface. Package rtnetlink sends neither bridges' VLANs nor the kinds that it does not know.
func (e *Env) linkRequest(typ netlink.HeaderType, flags netlink.HeaderFlags, info unix.IfInfomsg, encode func(*netlink.AttributeEncoder)) error {
	attrs := netlink.NewAttributeEncoder()
	encode(attrs)
	body, err := attrs.Encode()
	if err != nil {
		return err
	}
	b := make([]byte, unix.SizeofIfInfomsg)
	b[0] = info.Family
	binary.NativeEndian.PutUint32(b[4:], uint32(info.Index))
	binary.NativeEndian.PutUint32(b[8:], info.Flags)
	binary.NativeEndian.PutUint32(b[12:], info.Change)
	return e.do(func() error {
		c, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
		if err != nil {
			return err
		}
		defer c.Close()
		// The kernel then says in words what it refuses. Without, the error is the number alone.
		_ = c.SetOption(netlink.ExtendedAcknowledge, true)
		_, err = c.Execute(netlink.Message{
			Header: netlink.Header{Type: typ, Flags: netlink.Request | netlink.Acknowledge | flags}, Data: append(b, body...),
		})
		return err
	})
}

// addDevices creates the devices, down, and makes ports of those that are.
func (e *Env) addDevices() error {
	for _, d := range e.cfg.Devices {
		if err := e.addDevice(d); err != nil {
			return fmt.Errorf("device %q (%v): %w", d.Name, d.Kind, err)
		}
	}
	for _, l := range e.links {
		if err := e.enslave(l.index, l.cfg.Port); err != nil {
			return fmt.Errorf("link %q: %w", l.cfg.Name, err)
		}
	}
	for _, d := range e.cfg.Devices {
		if d.Port.Of == "" {
			continue
		}
		index, err := e.linkIndex(d.Name)
		if err == nil {
			err = e.enslave(index, d.Port)
		}
		if err != nil {
			return fmt.Errorf("device %q: %w", d.Name, err)
		}
	}
	return nil
}

// addDevice creates a device.
func (e *Env) addDevice(d Device) error {
	var parent uint32
	if lower := d.Kind.lower(); lower != "" {
		var err error
		if parent, err = e.linkIndex(lower); err != nil {
			return fmt.Errorf("parent %q: %w", lower, err)
		}
	}
	mtu := d.MTU
	if v, ok := d.Kind.(VXLAN); ok && mtu == 0 && v.Parent == "" {
		mtu = 1500
	}
	info := unix.IfInfomsg{}
	if d.Kind.ethernet() {
		info.Change = unix.IFF_NOARP
		if !d.ARP {
			info.Flags = unix.IFF_NOARP
		}
	}
	kind := d.Kind.String()
	err := e.linkRequest(unix.RTM_NEWLINK, netlink.Create|netlink.Excl, info, func(a *netlink.AttributeEncoder) {
		a.String(unix.IFLA_IFNAME, d.Name)
		if _, ok := d.Kind.(VXLAN); !ok && parent != 0 {
			a.Uint32(unix.IFLA_LINK, parent)
		}
		if mtu != 0 {
			a.Uint32(unix.IFLA_MTU, uint32(mtu))
		}
		if (d.HardwareAddr != nf.MAC{}) {
			a.Bytes(unix.IFLA_ADDRESS, d.HardwareAddr[:])
		}
		a.Nested(unix.IFLA_LINKINFO, func(a *netlink.AttributeEncoder) error {
			a.String(unix.IFLA_INFO_KIND, kind)
			a.Nested(unix.IFLA_INFO_DATA, func(a *netlink.AttributeEncoder) error {
				encodeKind(a, d.Kind, parent)
				return nil
			})
			return nil
		})
	})
	if err != nil {
		module := kind
		if m, ok := deviceModules[kind]; ok {
			module = m
		}
		// EOPNOTSUPP: there is no such kind of interfaces, and no module (net/core/rtnetlink.c, __rtnl_newlink).
		return fmt.Errorf("create it: %w", lackIf(err, nf.UnsupportedError{Need: module, Hint: "sudo modprobe " + module}, unix.EOPNOTSUPP))
	}
	index, err := e.linkIndex(d.Name)
	if err != nil {
		return err
	}
	switch k := d.Kind.(type) {
	case Bridge:
		if k.VLANFiltering {
			return e.filterVLANs(index, k.VLANs)
		}
	case WireGuard:
		return e.setWireGuard(index, k)
	}
	return nil
}

// encodeKind encodes the parameters of a kind (IFLA_INFO_DATA).
func encodeKind(a *netlink.AttributeEncoder, kind DeviceKind, parent uint32) {
	switch k := kind.(type) {
	case Bridge:
		a.Uint8(unix.IFLA_BR_MCAST_SNOOPING, 0) // else it sends reports (net/bridge/br_multicast.c, br_multicast_join_snoopers)
	case VLAN:
		a.Uint16(unix.IFLA_VLAN_ID, k.ID)
		protocol := uint16(unix.ETH_P_8021Q)
		if k.AD {
			protocol = unix.ETH_P_8021AD
		}
		a.Bytes(unix.IFLA_VLAN_PROTOCOL, networkOrder.AppendUint16(nil, protocol))
	case Macvlan:
		a.Uint32(unix.IFLA_MACVLAN_MODE, map[MacvlanMode]uint32{MacvlanPrivate: 1, MacvlanVEPA: 2, MacvlanBridge: 4, MacvlanPassthru: 8}[k.Mode])
	case IPvlan:
		a.Uint16(ipvlanMode, uint16(k.Mode))
	case VXLAN:
		a.Uint32(vxlanID, k.ID)
		a.Bytes(vxlanPort, networkOrder.AppendUint16(nil, k.Port))
		if parent != 0 {
			a.Uint32(vxlanLink, parent)
		}
		if k.Local.Is4() {
			a.Bytes(vxlanLocal, k.Local.AsSlice())
		} else if k.Local.IsValid() {
			a.Bytes(vxlanLocal6, k.Local.AsSlice())
		}
		if k.Remote.Is4() {
			a.Bytes(vxlanGroup, k.Remote.AsSlice())
		} else if k.Remote.IsValid() {
			a.Bytes(vxlanGroup6, k.Remote.AsSlice())
		}
	case Bond:
		a.Uint8(bondMode, map[BondMode]uint8{BondRoundRobin: 0, BondActiveBackup: 1, BondXOR: 2, BondBroadcast: 3}[k.Mode])
		if k.Mode == BondActiveBackup {
			a.Uint8(bondPeerNotif, 0) // else gratuitous ARP
		}
	case VRF:
		a.Uint32(unix.IFLA_VRF_TABLE, k.Table)
	}
}

// enslave makes an interface that is down a port.
func (e *Env) enslave(index uint32, p Port) error {
	if p.Of == "" {
		return nil
	}
	master, err := e.linkIndex(p.Of)
	if err != nil {
		return fmt.Errorf("port of %q: %w", p.Of, err)
	}
	err = e.linkRequest(unix.RTM_NEWLINK, 0, unix.IfInfomsg{Index: int32(index)}, func(a *netlink.AttributeEncoder) {
		a.Uint32(unix.IFLA_MASTER, master)
	})
	if err != nil {
		return fmt.Errorf("make it a port of %q: %w", p.Of, err)
	}
	if p.Hairpin || p.Isolated {
		err := e.linkRequest(unix.RTM_SETLINK, 0, unix.IfInfomsg{Family: unix.AF_BRIDGE, Index: int32(index)}, func(a *netlink.AttributeEncoder) {
			a.Nested(unix.IFLA_PROTINFO, func(a *netlink.AttributeEncoder) error {
				a.Uint8(unix.IFLA_BRPORT_MODE, flag(p.Hairpin))
				a.Uint8(unix.IFLA_BRPORT_ISOLATED, flag(p.Isolated))
				return nil
			})
		})
		if err != nil {
			return fmt.Errorf("set what it is as a port of %q: %w", p.Of, err)
		}
	}
	if err := e.setVLANs(index, 0, p.VLANs); err != nil {
		return fmt.Errorf("port of %q: %w", p.Of, err)
	}
	return nil
}

func flag(on bool) uint8 {
	if on {
		return 1
	}
	return 0
}

// filterVLANs turns VLAN filtering of a bridge on.
func (e *Env) filterVLANs(index uint32, vlans []PortVLAN) error {
	err := e.linkRequest(unix.RTM_NEWLINK, 0, unix.IfInfomsg{Index: int32(index)}, func(a *netlink.AttributeEncoder) {
		a.Nested(unix.IFLA_LINKINFO, func(a *netlink.AttributeEncoder) error {
			a.String(unix.IFLA_INFO_KIND, Bridge{}.String())
			a.Nested(unix.IFLA_INFO_DATA, func(a *netlink.AttributeEncoder) error {
				a.Uint8(unix.IFLA_BR_VLAN_FILTERING, 1)
				return nil
			})
			return nil
		})
	})
	if err != nil {
		// EOPNOTSUPP: the kernel was configured without (net/bridge/br_private.h, br_vlan_filter_toggle).
		return fmt.Errorf("filter VLANs: %w", lackIf(err, nf.UnsupportedError{
			Need: "CONFIG_BRIDGE_VLAN_FILTERING", Hint: "a kernel of a distribution",
		}, unix.EOPNOTSUPP))
	}
	return e.setVLANs(index, bridgeFlagsSelf, vlans)
}

// setVLANs sets the VLANs of a port of a bridge, or of the bridge itself (bridgeFlagsSelf), instead of VLAN 1, which it has by
// default.
func (e *Env) setVLANs(index uint32, flags uint16, vlans []PortVLAN) error {
	if vlans == nil {
		return nil
	}
	request := func(typ netlink.HeaderType, infos ...[2]uint16) error {
		return e.linkRequest(typ, 0, unix.IfInfomsg{Family: unix.AF_BRIDGE, Index: int32(index)}, func(a *netlink.AttributeEncoder) {
			a.Nested(unix.IFLA_AF_SPEC, func(a *netlink.AttributeEncoder) error {
				if flags != 0 {
					a.Uint16(bridgeFlags, flags)
				}
				for _, info := range infos {
					a.Bytes(bridgeVLANInfo, append(nativeUint16(info[0]), nativeUint16(info[1])...))
				}
				return nil
			})
		})
	}
	var infos [][2]uint16
	for _, v := range vlans {
		info := [2]uint16{0, v.ID}
		if !v.Tagged {
			info[0] = vlanInfoPVID | vlanInfoUntag
		}
		infos = append(infos, info)
	}
	if len(infos) > 0 {
		if err := request(unix.RTM_SETLINK, infos...); err != nil {
			return fmt.Errorf("set its VLANs: %w", err)
		}
	}
	if !slices.ContainsFunc(vlans, func(v PortVLAN) bool { return v.ID == 1 }) {
		if err := request(unix.RTM_DELLINK, [2]uint16{0, 1}); err != nil {
			return fmt.Errorf("remove its VLAN 1: %w", err)
		}
	}
	return nil
}

// nobody is the Ethernet address to which a device sends packets to neighbours that it does not know, if it has no ARP.
var nobody = nf.MAC{0x00, 0x00, 0x5e, 0x00, 0x53, 0x01}

// upDevices sets the devices up, each after those below it, and adds their addresses and routes.
func (e *Env) upDevices(ctx context.Context) error {
	for _, l := range e.links {
		if l.cfg.Port.Of == "" || l.cfg.Down {
			continue
		}
		// A bridge that is set up leaves out ports whose operational state the link watch has not set yet (net/bridge/br_stp_if.c,
		// br_stp_enable_bridge).
		if err := e.awaitQueue(ctx, l.index); err != nil {
			return fmt.Errorf("link %q: %w", l.cfg.Name, err)
		}
	}
	done := map[string]bool{}
	for _, d := range e.cfg.Devices {
		if err := e.upDevice(ctx, d, done); err != nil {
			return err
		}
	}
	return nil
}

func (e *Env) upDevice(ctx context.Context, d Device, done map[string]bool) error {
	if done[d.Name] {
		return nil
	}
	done[d.Name] = true
	for _, below := range e.cfg.Devices {
		if below.Port.Of == d.Name || below.Name == d.Kind.lower() {
			if err := e.upDevice(ctx, below, done); err != nil {
				return err
			}
		}
	}
	if d.Down {
		return nil
	}
	if err := e.setUp(ctx, d); err != nil {
		return fmt.Errorf("device %q (%v): %w", d.Name, d.Kind, err)
	}
	return nil
}

func (e *Env) setUp(ctx context.Context, d Device) error {
	index, err := e.linkIndex(d.Name)
	if err != nil {
		return err
	}
	if e.needsRewrite(d) {
		if err := e.rewriteToNobody(d, index); err != nil {
			return err
		}
	}
	if err := e.route.Link.Set(&rtnetlink.LinkMessage{Index: index, Flags: unix.IFF_UP, Change: unix.IFF_UP}); err != nil {
		return fmt.Errorf("set it up: %w", err)
	}
	if d.Kind.ethernet() && !d.ARP { // an ipvlan has it again after it was set up (drivers/net/ipvlan/ipvlan_main.c, ipvlan_open)
		if err := e.route.Link.Set(&rtnetlink.LinkMessage{Index: index, Flags: unix.IFF_NOARP, Change: unix.IFF_NOARP}); err != nil {
			return fmt.Errorf("disable ARP: %w", err)
		}
	}
	if e.carries(d) {
		if err := e.awaitQueue(ctx, index); err != nil {
			return err
		}
	}
	if err := e.addAddresses(ctx, d.Prefixes, index, d.Port); err != nil {
		return err
	}
	return e.addDirectRoutes(index, d.Routes, e.cfg.table(d.Port))
}

// carries reports whether there is something below a device that lets it send.
func (e *Env) carries(d Device) bool {
	switch d.Kind.(type) {
	case Bridge, Bond:
		of := func(p Port) bool { return p.Of == d.Name }
		return slices.ContainsFunc(e.cfg.Links, func(l LinkConfig) bool { return of(l.Port) && !l.Down }) ||
			slices.ContainsFunc(e.cfg.Devices, func(below Device) bool { return of(below.Port) && e.carries(below) })
	}
	lower, ok := e.cfg.device(d.Kind.lower())
	return !ok || e.carries(lower)
}

// needsRewrite reports whether packets to unknown neighbours would not leave a device. An interface without ARP sends them to its
// own address (net/ipv4/arp.c, arp_constructor), for which a bridge, a macvlan and an ipvlan deliver them to themselves
// (net/bridge/br_device.c, br_dev_xmit; drivers/net/macvlan.c, macvlan_queue_xmit; drivers/net/ipvlan/ipvlan_core.c, ipvlan_xmit_mode_l2).
func (e *Env) needsRewrite(d Device) bool {
	if d.ARP {
		return false
	}
	switch k := d.Kind.(type) {
	case Bridge, Macvlan:
		return true
	case IPvlan:
		return k.Mode == IPvlanL2
	case VLAN:
		lower, ok := e.cfg.device(k.Parent)
		lower.ARP = false
		return ok && e.needsRewrite(lower)
	}
	return false
}

// rewriteToNobody lets a device without ARP send to nobody instead of to itself.
func (e *Env) rewriteToNobody(d Device, index uint32) error {
	mac, err := e.hardwareAddr(index)
	if err != nil {
		return err
	}
	// The kernel may give a bridge another address with each port, unless it was set (net/bridge/br_stp_if.c,
	// br_stp_recalculate_bridge_id).
	if _, ok := d.Kind.(Bridge); ok {
		err := e.route.Link.Set(&rtnetlink.LinkMessage{Index: index, Attributes: &rtnetlink.LinkAttributes{Address: mac[:]}})
		if err != nil {
			return fmt.Errorf("set its address: %w", err)
		}
	}
	if err := e.tryRewrite(d.Name, mac); err != nil {
		if e.hasNeighbours(d.Name) {
			return nil
		}
		return fmt.Errorf("send to unknown neighbours: %w", lackIf(err, nf.UnsupportedError{
			Need: "rules that write frames as they leave", Hint: "set Device.ARP, or give all neighbours in Config.Neighbours; else Linux 5.16 or later, from 7.3 on as the host's root",
		}, unix.EOPNOTSUPP, unix.ENOENT, unix.EPERM))
	}
	o := e.owned
	o.mu.Lock()
	defer o.mu.Unlock()
	addRewrite(o.rules, o.netdev, d.Name, mac)
	if err := o.flush(); err != nil {
		return fmt.Errorf("send to unknown neighbours: %w", err)
	}
	return nil
}

// tryRewrite adds the rule of rewriteToNobody to a table of its own and removes it: the connection that owns ours cannot be used
// after a request that the kernel refuses (see rulesMayWrite).
func (e *Env) tryRewrite(name string, mac nf.MAC) error {
	c, err := e.openNFTables()
	if err != nil {
		return err
	}
	defer c.CloseLasting()
	t := c.AddTable(&nftables.Table{Family: nftables.TableFamilyNetdev, Name: ours.Table + "-writes"})
	addRewrite(c, t, name, mac)
	c.DelTable(t)
	return c.Flush()
}

// addRewrite adds a chain at the egress of an interface in which frames to its own address go to nobody.
func addRewrite(conn *nftables.Conn, t *nftables.Table, name string, own nf.MAC) {
	destination := expr.Payload{OperationType: expr.PayloadLoad, DestRegister: 1, Base: expr.PayloadBaseLLHeader, Len: uint32(len(own))}
	write := destination
	write.OperationType, write.SourceRegister, write.DestRegister = expr.PayloadWrite, 1, 0
	c := conn.AddChain(&nftables.Chain{
		Table: t, Name: "egress/" + name, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookEgress, Priority: nftables.ChainPriorityRef(nftables.ChainPriority(nf.PriorityFirst)), Device: name,
	})
	conn.AddRule(&nftables.Rule{Table: t, Chain: c, Exprs: []expr.Any{
		&destination, equal(own[:]), &expr.Immediate{Register: 1, Data: nobody[:]}, &write,
	}})
}

func (e *Env) hasNeighbours(dev string) bool {
	return slices.ContainsFunc(e.cfg.Neighbours, func(n Neighbour) bool { return n.Dev == dev })
}

// awaitQueue waits until an interface can send. If an interface was up before what it sends through, it drops all packets until
// the kernel's link watch has seen that (net/core/link_watch.c, linkwatch_do_dev), which sets the operational state and then
// activates the queue (net/sched/sch_generic.c, dev_activate), without anybody else between the two. The name of the queueing
// discipline does not show that. Interfaces without a carrier of their own have an unknown state.
func (e *Env) awaitQueue(ctx context.Context, index uint32) error {
	tick := time.NewTicker(100 * time.Microsecond)
	defer tick.Stop()
	for {
		is, err := e.route.Link.Get(index)
		if err != nil {
			return err
		}
		a := is.Attributes
		isVeth := a.Info != nil && a.Info.Kind == "veth" // its state is unknown, too, until the link watch has seen it
		if a.OperationalState == rtnetlink.OperStateUp || a.OperationalState == rtnetlink.OperStateUnknown && !isVeth && a.Carrier != nil && *a.Carrier == 1 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it cannot send yet: %w", context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// HardwareAddr returns the Ethernet address of an interface of the host, such as a Macvlan, to which frames are written by
// Link.WriteFrame; zero for one without, such as a tun.
func (e *Env) HardwareAddr(name string) (nf.MAC, error) {
	index, err := e.linkIndex(name)
	if err == nil {
		var mac nf.MAC
		if mac, err = e.hardwareAddr(index); err == nil {
			return mac, nil
		}
	}
	if errors.Is(err, os.ErrClosed) {
		return nf.MAC{}, ErrClosed
	}
	return nf.MAC{}, fmt.Errorf("netnsenv: address of %q: %w", name, err)
}

func (e *Env) hardwareAddr(index uint32) (mac nf.MAC, err error) {
	is, err := e.route.Link.Get(index)
	if err != nil {
		return mac, err
	}
	copy(mac[:], is.Attributes.Address)
	return mac, nil
}
