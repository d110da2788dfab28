package nf

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ctexp/go-ctexp/internal/header"
)

// Proto is an IP protocol number as assigned by IANA. The zero Proto means any where a Match asks for one.
type Proto uint8

// The protocols that conntrack tracks with more than the generic tracker.
const (
	ICMP    Proto = 1
	TCP     Proto = 6
	UDP     Proto = 17
	DCCP    Proto = 33
	GRE     Proto = 47
	ICMPv6  Proto = 58
	SCTP    Proto = 132
	UDPLite Proto = 136
)

var protoNames = map[Proto]string{
	ICMP: "icmp", TCP: "tcp", UDP: "udp", DCCP: "dccp", GRE: "gre", ICMPv6: "icmpv6", SCTP: "sctp", UDPLite: "udplite",
}

// String returns the name that conntrack prints, or "unknown-N".
func (p Proto) String() string {
	if n, ok := protoNames[p]; ok {
		return n
	}
	return fmt.Sprintf("unknown-%d", uint8(p))
}

// protoOf is the inverse of Proto.String.
func protoOf(name string) (Proto, bool) {
	for p, n := range protoNames {
		if n == name {
			return p, true
		}
	}
	if number, ok := strings.CutPrefix(name, "unknown-"); ok {
		n, err := strconv.ParseUint(number, 10, 8)
		return Proto(n), err == nil
	}
	return 0, false
}

// HasPorts reports whether the protocol's header begins with a source and a destination port.
func (p Proto) HasPorts() bool { return header.HasPorts(uint8(p)) }

// IsICMP reports whether p is ICMP or ICMPv6, whose tuples have a type, a code and an identifier instead of ports.
func (p Proto) IsICMP() bool { return p == ICMP || p == ICMPv6 }
