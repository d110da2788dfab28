package netnsenv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/jsimonetti/rtnetlink/v2/driver"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// veth is a pair of interfaces in the namespace with a packet socket on the far one. Both are without ARP: the host
// then addresses every frame to its own MAC (net/ipv4/arp.c, arp_constructor), which the far end takes for somebody
// else's and drops before any hook.
type veth struct {
	*os.File        // the packet socket
	header   []byte // destination and source address of what is injected
	closed   atomic.Bool
	dropped  atomic.Uint64 // packets that found no room in the packet socket
}

// outsider is the address that packets come from. It is not that of the far interface, which would take up what the host
// sends there; it is one for documentation (RFC 9542, 2.1.2).
var outsider = []byte{0x00, 0x00, 0x5e, 0x00, 0x53, 0x02}

func openVeth(e *Env, name string) (device, error) {
	far := ours.FarPrefix + name
	err := e.route.Link.New(&rtnetlink.LinkMessage{
		Flags: unix.IFF_NOARP, Change: unix.IFF_NOARP,
		Attributes: &rtnetlink.LinkAttributes{Name: name, Info: &rtnetlink.LinkInfo{Kind: "veth", Data: &driver.Veth{
			PeerInfo: &rtnetlink.LinkMessage{
				Flags: unix.IFF_NOARP, Change: unix.IFF_NOARP,
				Attributes: &rtnetlink.LinkAttributes{Name: far},
			},
		}}},
	})
	if err != nil {
		return nil, fmt.Errorf("make a veth pair: %w", err)
	}
	var near, peer rtnetlink.LinkMessage
	links, err := e.route.Link.List()
	if err != nil {
		return nil, fmt.Errorf("list the links: %w", err)
	}
	for _, l := range links {
		switch l.Attributes.Name {
		case name:
			near = l
		case far:
			peer = l
		}
	}
	if near.Index == 0 || peer.Index == 0 {
		return nil, fmt.Errorf("make a veth pair: %q and %q are not both there", name, far)
	}
	if err := e.setSysctl("net/ipv6/conf/"+far+"/disable_ipv6", "1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err := e.route.Link.Set(&rtnetlink.LinkMessage{Index: peer.Index, Flags: unix.IFF_UP, Change: unix.IFF_UP}); err != nil {
		return nil, fmt.Errorf("set up %q: %w", far, err)
	}
	v := &veth{header: append(append([]byte(nil), near.Attributes.Address...), outsider...)}
	err = e.Do(func() error {
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

// packetSocket opens a packet socket on one interface that sees what arrives there, not what it sends itself.
func packetSocket(ifindex int) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket(AF_PACKET)", err)
	}
	// The queueing discipline of an interface that was up before its peer comes with the link watch, some time later, and
	// drops until then (net/sched/sch_generic.c, dev_activate): do without.
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

// noChecksumOffload makes the host compute the checksums of what it sends, as it does for a tun, and with them gone
// no segment larger than the MTU leaves either (net/core/dev.c, netdev_fix_features).
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

// Close closes the packet socket in the background: the kernel waits some 15 ms for RCU (net/packet/af_packet.c,
// packet_release), and nobody has to wait with it.
func (v *veth) Close() error {
	v.closed.Store(true)
	go v.File.Close()
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

// Read takes the Ethernet header away, and passes over what is no IP.
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

// errNoEthernet is why a tun takes no frames.
var errNoEthernet = &nf.UnsupportedError{
	Need: "a veth link", Hint: "LinkConfig.Kind: netnsenv.Veth", Err: errors.New("the link is a tun, which has no Ethernet"),
}

// WriteFrame hands one frame, from its Ethernet header on and without checksum, to the host under test: VLAN tags, ARP, other
// addresses. Fence waits for it as for a packet. On a tun the error is an *nf.UnsupportedError.
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

// HardwareAddr returns the address of Ethernet that the host has on the link; zero on a tun.
func (l *Link) HardwareAddr() nf.MAC { return l.mac(0) }

// PeerHardwareAddr returns the address of Ethernet that packets come from that are written without a header,
// 00:00:5e:00:53:02; zero on a tun. No interface has it: what the host sends there is for Read alone.
func (l *Link) PeerHardwareAddr() nf.MAC { return l.mac(6) }

func (l *Link) mac(at int) nf.MAC {
	v, ok := l.dev.(*veth)
	if !ok {
		return nf.MAC{}
	}
	return nf.MAC(v.header[at:])
}

// ReadFrame returns the next frame that left by the link, from its Ethernet header on and with the tag of a VLAN that it
// has. It takes turns with Read, which passes over frames that carry neither IPv4 nor IPv6: ask one of them alone. On a
// tun the error is an *nf.UnsupportedError.
//
// In an Experiment the Inbox reads the links, also while something is sent, and what it reads is gone for ReadFrame: there
// x.Frames() has every frame that has left.
func (l *Link) ReadFrame(b []byte) (int, error) {
	v, ok := l.dev.(*veth)
	if !ok {
		return 0, errNoEthernet
	}
	n, err := v.readFrame(b)
	return n, closedError(err)
}

func (v *veth) writeFrame(b []byte) (int, error) {
	if v.closed.Load() {
		return 0, os.ErrClosed
	}
	return v.File.Write(b)
}

// reachesIngress reports whether the host begins with the frame at all: it drops one with a tag that is cut before the
// ingress hook (net/core/skbuff.c, skb_vlan_untag, which wants two bytes behind the tag as well).
func reachesIngress(b []byte) bool {
	const tag = 4
	return !header.IsTag(header.OuterType(b)) || len(b) >= header.EthernetSize+tag+2
}

// carriesIP reports whether Read is to return what the frame carries.
func carriesIP(b []byte) bool {
	t := header.OuterType(b)
	return t == header.EtherTypeIPv4 || t == header.EtherTypeIPv6
}

// readFrame puts the tag back that the kernel has taken out of the frame (net/packet/af_packet.c, packet_recvmsg).
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

// retag inserts the tag that the ancillary data tell of into the frame in b, as far as there is room.
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

// switchOnARP lets the host ask for the addresses of its neighbours, and answer who asks for its own.
func (e *Env) switchOnARP(l *Link) error {
	err := e.route.Link.Set(&rtnetlink.LinkMessage{Index: l.index, Change: unix.IFF_NOARP})
	if err != nil {
		return fmt.Errorf("link %q: switch on ARP: %w", l.cfg.Name, err)
	}
	return nil
}

// openFence counts what arrives by the link.
func (e *Env) openFence(l *Link) error {
	count, err := e.countIngress(l.cfg.Name, l.cfg.Name)
	if err != nil {
		return fmt.Errorf("link %q: %w", l.cfg.Name, err)
	}
	l.fence = &fence{count: count, async: l.kind == Veth || e.steered()}
	return nil
}

// countIngress counts in a chain of that name what arrives by a device, at the ingress hook, before anything else can drop
// it; what of it is IPv4 and what IPv6, in counters that the Observer reads.
func (e *Env) countIngress(chain, device string) (func() (uint64, error), error) {
	name := "ingress/" + chain
	o := e.owned
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.conn.AddChain(&nftables.Chain{
		Table: o.netdev, Name: chain, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookIngress, Priority: nftables.ChainPriorityRef(nftables.ChainPriority(nf.PriorityFirst)),
		Device: device,
	})
	o.add(o.netdev, c, name)
	for f, etherType := range map[nf.Family]uint16{nf.IPv4: unix.ETH_P_IP, nf.IPv6: unix.ETH_P_IPV6} {
		o.add(o.netdev, c, fmt.Sprintf("%s%v/%s", ours.Arrived, f, chain),
			&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1}, equal(binary.BigEndian.AppendUint16(nil, etherType)))
	}
	if err := o.conn.Flush(); err != nil {
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOENT) {
			return nil, &nf.UnsupportedError{Need: "CONFIG_NETFILTER_INGRESS", Hint: "a kernel with nftables chains of family netdev", Err: err}
		}
		return nil, fmt.Errorf("count at ingress: %w", err)
	}
	return func() (uint64, error) { return o.counter(o.netdev, name) }, nil
}
