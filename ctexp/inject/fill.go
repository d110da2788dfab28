package inject

import (
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// fill sets the version and the next protocol of the network layer l from what follows it, where they are zero.
func fill(l gopacket.SerializableLayer, rest []gopacket.SerializableLayer) {
	var next layers.IPProtocol // zero also where it is unknown
	if len(rest) > 0 {
		next = protocols[rest[0].LayerType()]
	}
	switch l := l.(type) {
	case *layers.IPv4:
		if l.Version == 0 {
			l.Version = 4
		}
		if l.Protocol == 0 {
			l.Protocol = next
		}
	case *layers.IPv6:
		if l.Version == 0 {
			l.Version = 6
		}
		if l.NextHeader == 0 && l.HopByHop == nil {
			l.NextHeader = next
		}
	}
}

// protocols are the numbers of the layers that stand behind an IP header.
var protocols = map[gopacket.LayerType]layers.IPProtocol{
	layers.LayerTypeICMPv4:          layers.IPProtocolICMPv4,
	layers.LayerTypeIGMP:            layers.IPProtocolIGMP,
	layers.LayerTypeIPv4:            layers.IPProtocolIPv4,
	layers.LayerTypeTCP:             layers.IPProtocolTCP,
	layers.LayerTypeUDP:             layers.IPProtocolUDP,
	layers.LayerTypeIPv6:            layers.IPProtocolIPv6,
	layers.LayerTypeIPv6Routing:     layers.IPProtocolIPv6Routing,
	layers.LayerTypeIPv6Fragment:    layers.IPProtocolIPv6Fragment,
	layers.LayerTypeGRE:             layers.IPProtocolGRE,
	layers.LayerTypeICMPv6:          layers.IPProtocolICMPv6,
	layers.LayerTypeIPv6Destination: layers.IPProtocolIPv6Destination,
	layers.LayerTypeSCTP:            layers.IPProtocolSCTP,
	layers.LayerTypeUDPLite:         layers.IPProtocolUDPLite,
}
