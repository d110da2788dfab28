package netnsenv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// The generic netlink of WireGuard (include/uapi/linux/wireguard.h; include/uapi/linux/genetlink.h).
const (
	getFamily  = 3 // CTRL_CMD_GETFAMILY
	familyID   = 1 // CTRL_ATTR_FAMILY_ID
	familyName = 2 // CTRL_ATTR_FAMILY_NAME
	wireguard  = "wireguard"

	setDevice         = 1 // WG_CMD_SET_DEVICE
	wgIndex           = 1 // WGDEVICE_A_IFINDEX
	wgPrivateKey      = 3 // WGDEVICE_A_PRIVATE_KEY
	wgListenPort      = 6 // WGDEVICE_A_LISTEN_PORT
	wgMark            = 7 // WGDEVICE_A_FWMARK
	wgPeers           = 8 // WGDEVICE_A_PEERS
	wgPeerPublicKey   = 1 // WGPEER_A_PUBLIC_KEY
	wgPeerPreshared   = 2 // WGPEER_A_PRESHARED_KEY
	wgPeerEndpoint    = 4 // WGPEER_A_ENDPOINT
	wgPeerKeepalive   = 5 // WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL
	wgPeerAllowed     = 9 // WGPEER_A_ALLOWEDIPS
	wgAllowedFamily   = 1 // WGALLOWEDIP_A_FAMILY
	wgAllowedAddr     = 2 // WGALLOWEDIP_A_IPADDR
	wgAllowedMaskBits = 3 // WGALLOWEDIP_A_CIDR_MASK
)

// setWireGuard sets the keys and peers of a WireGuard interface.
func (e *Env) setWireGuard(index uint32, w WireGuard) error {
	err := e.do(func() error {
		c, err := netlink.Dial(unix.NETLINK_GENERIC, nil)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetOption(netlink.ExtendedAcknowledge, true) // without, errors have no words
		family, err := genericFamily(c, wireguard)
		if err != nil {
			return err
		}
		attrs := netlink.NewAttributeEncoder()
		w.encode(attrs, index)
		return generic(c, netlink.HeaderType(family), setDevice, attrs, nil)
	})
	if err != nil {
		return fmt.Errorf("set its keys and peers: %w", err)
	}
	return nil
}

// generic executes a request of generic netlink and passes its answers to read; nil if it has none but the acknowledgement.
func generic(c *netlink.Conn, family netlink.HeaderType, command uint8, attrs *netlink.AttributeEncoder, read func([]byte) error) error {
	body, err := attrs.Encode()
	if err != nil {
		return err
	}
	const header = 4 // struct genlmsghdr: the command, the version, two bytes reserved
	flags := netlink.Request
	if read == nil {
		flags |= netlink.Acknowledge
	}
	answers, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: family, Flags: flags},
		Data:   append([]byte{command, 1, 0, 0}, body...),
	})
	if err != nil || read == nil {
		return err
	}
	for _, a := range answers {
		if len(a.Data) > header {
			if err := read(a.Data[header:]); err != nil {
				return err
			}
		}
	}
	return nil
}

// genericFamily returns the number of a family of generic netlink.
func genericFamily(c *netlink.Conn, name string) (id uint16, err error) {
	attrs := netlink.NewAttributeEncoder()
	attrs.String(familyName, name)
	err = generic(c, unix.GENL_ID_CTRL, getFamily, attrs, func(b []byte) error {
		d, err := netlink.NewAttributeDecoder(b)
		if err != nil {
			return err
		}
		for d.Next() {
			if d.Type() == familyID {
				id = d.Uint16()
			}
		}
		return d.Err()
	})
	if err == nil && id == 0 {
		err = errors.New("the kernel returned no number")
	}
	if err != nil {
		return 0, fmt.Errorf("family %q of generic netlink: %w", name, err)
	}
	return id, nil
}

func (w WireGuard) encode(a *netlink.AttributeEncoder, index uint32) {
	a.Uint32(wgIndex, index)
	a.Bytes(wgPrivateKey, w.PrivateKey[:])
	a.Uint16(wgListenPort, w.ListenPort)
	if w.Mark != 0 {
		a.Uint32(wgMark, w.Mark)
	}
	a.Nested(wgPeers, func(a *netlink.AttributeEncoder) error {
		for _, p := range w.Peers {
			a.Nested(0, func(a *netlink.AttributeEncoder) error {
				p.encode(a)
				return nil
			})
		}
		return nil
	})
}

func (p WireGuardPeer) encode(a *netlink.AttributeEncoder) {
	a.Bytes(wgPeerPublicKey, p.PublicKey[:])
	if p.PresharedKey != [32]byte{} {
		a.Bytes(wgPeerPreshared, p.PresharedKey[:])
	}
	if p.Endpoint.IsValid() {
		a.Bytes(wgPeerEndpoint, socketAddress(p.Endpoint))
	}
	if p.Keepalive > 0 {
		a.Uint16(wgPeerKeepalive, uint16(p.Keepalive.Seconds()))
	}
	a.Nested(wgPeerAllowed, func(a *netlink.AttributeEncoder) error {
		for _, allowed := range p.AllowedIPs {
			a.Nested(0, func(a *netlink.AttributeEncoder) error {
				a.Uint16(wgAllowedFamily, uint16(nf.FamilyOf(allowed.Addr())))
				a.Bytes(wgAllowedAddr, allowed.Masked().Addr().AsSlice())
				a.Uint8(wgAllowedMaskBits, uint8(allowed.Bits()))
				return nil
			})
		}
		return nil
	})
}

// socketAddress returns a struct sockaddr_in or sockaddr_in6.
func socketAddress(a netip.AddrPort) []byte {
	addr := a.Addr()
	b := binary.NativeEndian.AppendUint16(nil, uint16(nf.FamilyOf(addr)))
	b = networkOrder.AppendUint16(b, a.Port())
	if addr.Is4() {
		return append(append(b, addr.AsSlice()...), make([]byte, 8)...)
	}
	b = append(append(b, 0, 0, 0, 0), addr.AsSlice()...)
	return append(b, 0, 0, 0, 0)
}
