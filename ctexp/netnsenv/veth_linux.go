package netnsenv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/jsimonetti/rtnetlink/v2/driver"
	"golang.org/x/sys/unix"

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
