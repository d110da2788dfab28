package netnsenv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/jsimonetti/rtnetlink/v2/driver"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/background"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// veth is a pair of interfaces in the namespace with a packet socket on the far one. Both have no ARP: the host then
// addresses each frame to its own MAC (net/ipv4/arp.c, arp_constructor), so that for the far end it is PACKET_OTHERHOST
// and is dropped before any hook.
type veth struct {
	*os.File        // the packet socket
	header   []byte // destination and source address of injected packets
	closed   atomic.Bool
	dropped  atomic.Uint64 // packets dropped because the packet socket's buffer was full
}

// farName returns the name of the far end of a veth link, from which packets are injected. It has the number and not the name
// of the link, which may itself be as long as a name can be.
func (l *Link) farName() string { return fmt.Sprint(ours.FarPrefix, l.number) }

// openVeth creates a pair whose ends have the same MTU: each drops frames that are too large for it
// (net/core/dev.c, is_skb_forwardable).
func openVeth(e *Env, name, far string, mtu int) (device, error) {
	err := e.route.Link.New(&rtnetlink.LinkMessage{
		Flags: unix.IFF_NOARP, Change: unix.IFF_NOARP,
		Attributes: &rtnetlink.LinkAttributes{Name: name, MTU: uint32(mtu), Info: &rtnetlink.LinkInfo{Kind: "veth", Data: &driver.Veth{
			PeerInfo: &rtnetlink.LinkMessage{
				Flags: unix.IFF_NOARP, Change: unix.IFF_NOARP,
				Attributes: &rtnetlink.LinkAttributes{Name: far, MTU: uint32(mtu)},
			},
		}}},
	})
	if err != nil {
		// EOPNOTSUPP: there is no such kind of interfaces, and no module (net/core/rtnetlink.c, __rtnl_newlink).
		return nil, fmt.Errorf("create a veth pair: %w", lackIf(err, nf.UnsupportedError{Need: "veth", Hint: "sudo modprobe veth"}, unix.EOPNOTSUPP))
	}
	var peer rtnetlink.LinkMessage
	links, err := e.route.Link.List()
	if err != nil {
		return nil, fmt.Errorf("list the links: %w", err)
	}
	for _, l := range links {
		if l.Attributes.Name == far {
			peer = l
		}
	}
	if peer.Index == 0 {
		return nil, fmt.Errorf("create a veth pair: %q is missing", far)
	}
	if err := e.setSysctl("net/ipv6/conf/"+far+"/disable_ipv6", "1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err := e.route.Link.Set(&rtnetlink.LinkMessage{Index: peer.Index, Flags: unix.IFF_UP, Change: unix.IFF_UP}); err != nil {
		return nil, fmt.Errorf("set up %q: %w", far, err)
	}
	v := &veth{}
	err = e.do(func() error {
		if err := noChecksumOffload(name); err != nil {
			return err
		}
		v.File, err = packetSocket(int(peer.Index))
		return err
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

// address notes the Ethernet addresses of injected packets. The host's is not final before the link is a port: a bond gives all
// its ports the same.
func (e *Env) address(l *Link) error {
	v, ok := l.dev.(*veth)
	if !ok {
		return nil
	}
	mac, err := e.hardwareAddr(l.index)
	if err != nil {
		return fmt.Errorf("link %q: %w", l.cfg.Name, err)
	}
	outer := outsider(l.number)
	v.header = append(mac[:], outer[:]...)
	return nil
}

// packetSocket opens a packet socket on an interface. It receives packets that arrive there, but not those that it sends.
func packetSocket(ifindex int) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket(AF_PACKET)", err)
	}
	// Bypass the queueing discipline: if an interface was up before its peer, the link watch activates its queue some
	// time later, and packets are dropped until then (net/sched/sch_generic.c, dev_activate).
	for _, option := range []int{unix.PACKET_IGNORE_OUTGOING, unix.PACKET_QDISC_BYPASS, unix.PACKET_AUXDATA} {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, option, 1); err != nil {
			unix.Close(fd)
			return nil, os.NewSyscallError("setsockopt(SOL_PACKET)", err)
		}
	}
	all := binary.NativeEndian.Uint16([]byte{unix.ETH_P_ALL >> 8, unix.ETH_P_ALL & 0xff})
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: ifindex, Protocol: all}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind(AF_PACKET)", err)
	}
	return os.NewFile(uintptr(fd), "packet socket"), nil
}

// noChecksumOffload makes the host compute the checksums of packets that it sends, as it does for a tun. Without the
// offload, it does not send segments larger than the MTU either (net/core/dev.c, netdev_fix_features).
func noChecksumOffload(name string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	value := struct{ cmd, data uint32 }{cmd: unix.ETHTOOL_STXCSUM}
	var req struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(req.name[:], name)
	req.data = unsafe.Pointer(&value)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return fmt.Errorf("turn off the checksum offload of %q: %w", name, errno)
	}
	return nil
}

// Close closes the packet socket in the background, because the kernel waits about 15 ms for RCU (net/packet/af_packet.c,
// packet_release).
func (v *veth) Close() error {
	v.closed.Store(true)
	background.Close(v.File)
	return nil
}

// Write adds the Ethernet header.
func (v *veth) Write(p []byte) (int, error) {
	if v.closed.Load() {
		return 0, os.ErrClosed
	}
	frame := make([]byte, 0, header.EthernetSize+len(p))
	frame = append(frame, v.header...)
	frame = binary.BigEndian.AppendUint16(frame, header.EtherTypeOf(p))
	n, err := v.File.Write(append(frame, p...))
	return max(0, n-header.EthernetSize), err
}

// Read removes the Ethernet header, and skips frames without an IP packet.
func (v *veth) Read(p []byte) (int, error) {
	frame := make([]byte, header.EthernetSize+len(p))
	for {
		if v.closed.Load() {
			return 0, os.ErrClosed
		}
		n, err := v.File.Read(frame)
		if n < header.EthernetSize {
			return 0, err
		}
		if carriesIP(frame) {
			return copy(p, frame[header.EthernetSize:n]), err
		}
	}
}

// errNoEthernet is returned by the methods for frames on a tun.
var errNoEthernet = errors.New("the link is a tun, which has no Ethernet: set LinkConfig.Kind to netnsenv.Veth")

// WriteFrame sends an Ethernet frame, without frame check sequence, to the host under test: for VLAN tags, ARP or other
// addresses. Fence waits for it as for a packet. On a tun it is an error.
func (l *Link) WriteFrame(b []byte) (int, error) {
	v, ok := l.dev.(*veth)
	if !ok {
		return 0, errNoEthernet
	}
	n, err := v.writeFrame(b)
	if err == nil && reachesIngress(b) {
		l.written.Add(1)
	}
	return n, closedError(err)
}

// HardwareAddr returns the host's Ethernet address on the link; zero on a tun.
func (l *Link) HardwareAddr() nf.MAC { return l.mac(0) }

// PeerHardwareAddr returns the source address of packets that are written without an Ethernet header,
// 00:00:5e:00:53:02 on the first link, :03 on the second, …; zero on a tun. No interface has it, so that frames that the host sends there are only read by
// Read.
func (l *Link) PeerHardwareAddr() nf.MAC { return l.mac(6) }

func (l *Link) mac(at int) nf.MAC {
	v, ok := l.dev.(*veth)
	if !ok {
		return nf.MAC{}
	}
	return nf.MAC(v.header[at:])
}

// ReadFrame reads the next frame that the host sent on the link, with its Ethernet header and VLAN tags. It shares the
// queue with Read, which skips frames without IPv4 or IPv6, so use only one of the two. On a tun it is an
// error.
//
// In an Experiment the Inbox reads the links, so that ReadFrame misses frames. Use x.Frames() there, which has all
// frames.
func (l *Link) ReadFrame(b []byte) (int, error) {
	v, ok := l.dev.(*veth)
	if !ok {
		return 0, errNoEthernet
	}
	n, err := v.readFrame(b)
	if err == nil && carriesIP(b[:n]) {
		l.taken.Add(1)
	}
	return n, closedError(err)
}

func (v *veth) writeFrame(b []byte) (int, error) {
	if v.closed.Load() {
		return 0, os.ErrClosed
	}
	return v.File.Write(b)
}

// reachesIngress reports whether the frame reaches the ingress hook. The host drops a frame with a truncated tag before
// that (net/core/skbuff.c, skb_vlan_untag, which also requires two bytes behind the tag).
func reachesIngress(b []byte) bool {
	const tag = 4
	return !header.IsTag(header.OuterType(b)) || len(b) >= header.EthernetSize+tag+2
}

// carriesIP reports whether the frame's payload is an IP packet.
func carriesIP(b []byte) bool {
	t := header.OuterType(b)
	return t == header.EtherTypeIPv4 || t == header.EtherTypeIPv6
}

// readFrame reads a frame and inserts the VLAN tag that the kernel has removed from it (net/packet/af_packet.c,
// packet_recvmsg).
func (v *veth) readFrame(b []byte) (n int, err error) {
	if v.closed.Load() {
		return 0, os.ErrClosed
	}
	raw, err := v.File.SyscallConn()
	if err != nil {
		return 0, err
	}
	var oob [128]byte
	var oobn int
	rerr := raw.Read(func(fd uintptr) bool {
		n, oobn, _, _, err = unix.Recvmsg(int(fd), b, oob[:], unix.MSG_DONTWAIT)
		return err != unix.EAGAIN && err != unix.EINTR
	})
	switch {
	case rerr != nil:
		return 0, rerr
	case err != nil:
		return 0, os.NewSyscallError("recvmsg", err)
	}
	return retag(b, n, oob[:oobn]), nil
}

// retag inserts the VLAN tag in the ancillary data into the frame in b, which has n bytes, and returns its new length.
// The frame is truncated if b is too small.
func retag(b []byte, n int, oob []byte) int {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return n
	}
	for _, m := range messages {
		if m.Header.Level != unix.SOL_PACKET || m.Header.Type != unix.PACKET_AUXDATA || len(m.Data) < int(unsafe.Sizeof(unix.TpacketAuxdata{})) {
			continue
		}
		aux := (*unix.TpacketAuxdata)(unsafe.Pointer(&m.Data[0]))
		if aux.Status&unix.TP_STATUS_VLAN_VALID == 0 || n < header.EthernetSize {
			continue
		}
		tpid := uint16(unix.ETH_P_8021Q)
		if aux.Status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
			tpid = aux.Vlan_tpid
		}
		tag := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, tpid), aux.Vlan_tci)
		whole := append(append(append([]byte(nil), b[:12]...), tag...), b[12:n]...)
		return copy(b, whole)
	}
	return n
}

// switchOnARP enables ARP and neighbour discovery on the link.
func (e *Env) switchOnARP(l *Link) error {
	err := e.route.Link.Set(&rtnetlink.LinkMessage{Index: l.index, Change: unix.IFF_NOARP})
	if err != nil {
		return fmt.Errorf("link %q: enable ARP: %w", l.cfg.Name, err)
	}
	return nil
}

// openFence opens the link's fence, and on veth also that of the far interface. Their counters are added by addOwnRules.
func (e *Env) openFence(l *Link) {
	l.fence = &fence{count: e.arrivals(l.cfg.Name), async: l.kind == Veth || e.steered(), takers: l.takers}
	v, ok := l.dev.(*veth)
	if !ok {
		return
	}
	l.answers = &pipe{
		name: fmt.Sprintf("link %q: fence of what the host sends", l.cfg.Name), sender: e, index: l.index,
		arrived: e.arrivals(l.farName()), cut: &v.closed,
	}
}

// countIngress is collectIngress for an open Env. The returned function reads the first counter.
func (e *Env) countIngress(chain, device string, families ...nf.Family) (func() (uint64, error), error) {
	o := e.owned
	o.mu.Lock()
	defer o.mu.Unlock()
	o.collectIngress(chain, device, families...)
	if err := o.flush(); err != nil {
		return nil, ingressError(err)
	}
	return e.arrivals(chain), nil
}

// arrivals returns a function that reads the first counter of a chain of collectIngress.
func (e *Env) arrivals(chain string) func() (uint64, error) {
	r := rising{read: func() (uint64, error) { return e.owned.counter(e.owned.netdev, "ingress/"+chain) }}
	return r.count
}

// collectIngress collects a chain that counts the packets that arrive on a device, at the ingress hook, before anything can drop
// them. Further counters, for families, are for the Observer.
func (o *owned) collectIngress(chain, device string, families ...nf.Family) {
	c := o.rules.AddChain(&nftables.Chain{
		Table: o.netdev, Name: chain, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookIngress, Priority: nftables.ChainPriorityRef(nftables.ChainPriority(nf.PriorityFirst)),
		Device: device,
	})
	o.add(o.netdev, c, "ingress/"+chain)
	for _, f := range families {
		o.add(o.netdev, c, fmt.Sprintf("%s%v/%s", ours.Arrived, f, chain), frameOf(f)...)
	}
}

// ingressError returns the error of counters at ingress that were refused.
func ingressError(err error) error {
	return fmt.Errorf("count at ingress: %w", lackIf(err, nf.UnsupportedError{
		Need: "CONFIG_NETFILTER_INGRESS", Hint: "a kernel with nftables chains of family netdev",
	}, noExpression...))
}

// frameOf returns the expressions that match frames of a family.
func frameOf(f nf.Family) []expr.Any {
	etherTypes := map[nf.Family]uint16{nf.IPv4: unix.ETH_P_IP, nf.IPv6: unix.ETH_P_IPV6}
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1}, equal(binary.BigEndian.AppendUint16(nil, etherTypes[f]))}
}

// egressRefused is whether the kernel has refused chains of the hook egress, because it has none.
var egressRefused atomic.Bool

// countsEgress reports whether the Env counts what leaves.
func (e *Env) countsEgress() bool {
	return !e.cfg.NoPath && kernel.EgressHook.Here() && !egressRefused.Load()
}

// collectEgress collects two chains that count the packets leaving by a device, for the Observer: the one of the first priority of
// the hook egress, and the one of the last, which is behind the user's rules because it is older (net/netfilter/core.c,
// nf_hook_entries_grow). Between them there are only rules.
func (o *owned) collectEgress(chain, device string) {
	prefixes := []string{ours.Leaving, ours.Left}
	for _, prefix := range prefixes { // a dump reads them in this order: what leaves meanwhile does not look lost
		for _, f := range nf.Families() {
			o.rules.AddObj(&nftables.CounterObj{Table: o.netdev, Name: fmt.Sprintf("%s%v/%s", prefix, f, chain)})
		}
	}
	for i, prefix := range prefixes {
		c := o.rules.AddChain(&nftables.Chain{
			Table: o.netdev, Name: prefix + chain, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookEgress, Device: device,
			Priority: nftables.ChainPriorityRef(nftables.ChainPriority([]int32{nf.PriorityFirst, nf.PriorityConfirm}[i])),
		})
		for _, f := range nf.Families() {
			o.count(o.netdev, c, fmt.Sprintf("%s%v/%s", prefix, f, chain), frameOf(f)...)
		}
	}
}

// egressError returns the error of counters at egress that were refused: none if the kernel has no such hook, and so no such rules.
func egressError(err error) error {
	if lacksEgress(err) {
		egressRefused.Store(true)
		return nil
	}
	if err != nil {
		return fmt.Errorf("count at egress: %w", err)
	}
	return nil
}

// lacksEgress reports whether an error proves that the kernel has no hook egress (net/netfilter/core.c, __nf_register_net_hook).
// ENOENT would say only that the device has gone.
func lacksEgress(err error) bool { return errors.Is(err, unix.EOPNOTSUPP) }

// countEgress is collectEgress for an open Env.
func (e *Env) countEgress(chain, device string) error {
	if !e.countsEgress() {
		return nil
	}
	o := e.owned
	o.mu.Lock()
	defer o.mu.Unlock()
	o.collectEgress(chain, device)
	return egressError(o.flush())
}

// rising is a counter that does not go back when the kernel's is reset, as by "nft reset counters": fences go on. Observers
// report the reset.
type rising struct {
	mu         sync.Mutex
	read       func() (uint64, error)
	last, base uint64
}

func (r *rising) count() (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, err := r.read()
	if err != nil {
		return 0, err
	}
	if n < r.last {
		r.base += r.last
	}
	r.last = n
	return r.base + n, nil
}
