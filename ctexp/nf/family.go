package nf

import (
	"fmt"
	"net/netip"
)

// Family is a network layer protocol family, numbered as in netlink (include/uapi/linux/netfilter.h, NFPROTO_*).
// The zero Family means both IPv4 and IPv6.
type Family uint8

// The families that conntrack knows.
const (
	IPv4 Family = 2
	IPv6 Family = 10
)

// FamilyOf returns the family of a. An IPv4-mapped IPv6 address counts as IPv4; the zero Addr has Family 0.
func FamilyOf(a netip.Addr) Family {
	switch {
	case a.Unmap().Is4():
		return IPv4
	case a.Is6():
		return IPv6
	}
	return 0
}

// String returns "ipv4" or "ipv6" as conntrack -o extended prints it, "inet" for both.
func (f Family) String() string {
	switch f {
	case 0:
		return "inet"
	case IPv4:
		return "ipv4"
	case IPv6:
		return "ipv6"
	}
	return fmt.Sprintf("family(%d)", uint8(f))
}

// Hook is a place where netfilter looks at a packet (include/uapi/linux/netfilter.h, enum nf_inet_hooks).
type Hook uint8

// The hooks. A packet for the host passes prerouting and input; one that is forwarded passes prerouting, forward and
// postrouting; one that the host sends passes output and postrouting. Ingress comes before all of them, on the link: probes
// do not stand there.
const (
	Prerouting Hook = iota
	Input
	Forward
	Output
	Postrouting
	Ingress
)

// String returns the hook's name as nft writes it.
func (h Hook) String() string {
	names := [...]string{"prerouting", "input", "forward", "output", "postrouting", "ingress"}
	if int(h) < len(names) {
		return names[h]
	}
	return fmt.Sprintf("hook(%d)", uint8(h))
}
