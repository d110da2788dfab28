package netnsenv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"github.com/jsimonetti/rtnetlink/v2"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

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
