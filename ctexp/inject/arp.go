package inject

import (
	"fmt"
	"net/netip"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// ARPRequest returns the frame by which the owner of an Ethernet and an IPv4 address asks everybody who has another one.
func ARPRequest(srcMAC nf.MAC, src, who netip.Addr) Frame {
	broadcast := nf.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	return frame(srcMAC, broadcast, header.EtherTypeARP, arp(1, srcMAC, src, nf.MAC{}, who))
}

// ARPReply returns the answer by which the owner of an Ethernet and an IPv4 address tells them to another.
func ARPReply(srcMAC nf.MAC, src netip.Addr, dstMAC nf.MAC, dst netip.Addr) Frame {
	return frame(srcMAC, dstMAC, header.EtherTypeARP, arp(2, srcMAC, src, dstMAC, dst))
}

// arp returns the body of a message (RFC 826) between Ethernet and IPv4.
func arp(op byte, srcMAC nf.MAC, src netip.Addr, dstMAC nf.MAC, dst netip.Addr) []byte {
	src, dst = src.Unmap(), dst.Unmap()
	if !src.Is4() || !dst.Is4() {
		panic(fmt.Sprintf("inject: ARP between %v and %v: it is for IPv4", src, dst))
	}
	b := []byte{0, 1, header.EtherTypeIPv4 >> 8, header.EtherTypeIPv4 & 0xff, 6, 4, 0, op}
	b = append(append(b, srcMAC[:]...), src.AsSlice()...)
	return append(append(b, dstMAC[:]...), dst.AsSlice()...)
}
