package packet

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// Build returns the packet that consists of the layers, the first of which is an IPv4 or IPv6 header.
//
// It fills in lengths and checksums, each checksum with the preceding network layer, and, where they are zero, the IP
// version and the next protocol. It does not modify the layers, so that several goroutines may build from the same ones,
// except that gopacket may write to the options of an IPv6 extension header.
//
// It returns an error for layers that do not make a packet: no layers, a nil layer, an Ethernet header, more than 64 KiB,
// more than 40 bytes of options.
func Build(ls ...gopacket.SerializableLayer) (p Packet, err error) {
	defer func() { // gopacket panics on an IPv4 option longer than its length field allows
		if r := recover(); r != nil {
			p, err = nil, fmt.Errorf("build packet: gopacket: %v", r)
		}
	}()
	ls, err = prepare(ls)
	if err != nil {
		return nil, fmt.Errorf("build packet: %w", err)
	}
	buf := gopacket.NewSerializeBufferExpectedSize(expectedSize(ls), 0)
	for i, l := range slices.Backward(ls) {
		if err := serialize(buf, l); err != nil {
			return nil, fmt.Errorf("build packet: layer %d (%v): %w", i, l.LayerType(), err)
		}
	}
	return slices.Clip(buf.Bytes()), nil
}

// prepare returns copies of the layers with the network layer for checksums, the version and the next protocol set.
func prepare(ls []gopacket.SerializableLayer) ([]gopacket.SerializableLayer, error) {
	if len(ls) == 0 {
		return nil, errors.New("no layers")
	}
	var network gopacket.NetworkLayer
	out := make([]gopacket.SerializableLayer, len(ls))
	for i, l := range ls {
		l, ok := shallowCopy(l)
		if !ok {
			return nil, fmt.Errorf("layer %d is nil", i)
		}
		out[i] = l
		if t := l.LayerType(); i == 0 && t != layers.LayerTypeIPv4 && t != layers.LayerTypeIPv6 {
			return nil, fmt.Errorf("a packet begins with IPv4 or IPv6, not with %v", t)
		}
		if n, ok := l.(gopacket.NetworkLayer); ok {
			network = n
		}
		if c, ok := l.(interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}); ok {
			if err := c.SetNetworkLayerForChecksum(network); err != nil {
				return nil, fmt.Errorf("layer %d: %w", i, err)
			}
		}
	}
	for i, l := range out {
		fill(l, out[i+1:])
	}
	return out, nil
}

// shallowCopy returns a copy of l for gopacket, which stores lengths and checksums in the layers that it serializes. It
// returns false if l is nil.
func shallowCopy(l gopacket.SerializableLayer) (gopacket.SerializableLayer, bool) {
	v := reflect.ValueOf(l)
	if !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, false
	}
	if v.Kind() != reflect.Pointer {
		return l, true
	}
	c := reflect.New(v.Type().Elem())
	c.Elem().Set(v.Elem())
	return c.Interface().(gopacket.SerializableLayer), true
}

// serialize prepends l to buf. It returns an error for lengths that gopacket would silently truncate.
func serialize(buf gopacket.SerializeBuffer, l gopacket.SerializableLayer) error {
	payload := len(buf.Bytes())
	if l.LayerType() == layers.LayerTypeIPv6 && payload > MaxLength {
		return fmt.Errorf("payload of %d bytes is longer than %d", payload, MaxLength)
	}
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := l.SerializeTo(buf, opts); err != nil {
		return err
	}
	buf.PushLayer(l.LayerType())
	b := buf.Bytes()
	switch header := len(b) - payload; l := l.(type) {
	case *layers.IPv4:
		if header > maxHeader {
			return fmt.Errorf("header of %d bytes is longer than %d", header, maxHeader)
		}
		if len(b) > MaxLength {
			return fmt.Errorf("length of %d bytes is more than %d", len(b), MaxLength)
		}
	case *layers.TCP:
		if header > maxHeader {
			return fmt.Errorf("header of %d bytes is longer than %d", header, maxHeader)
		}
	case *layers.UDP:
		if l.Checksum == 0 { // RFC 768: zero means no checksum, so a computed zero is sent as all ones
			b[6], b[7] = 0xff, 0xff
		}
	}
	return nil
}

// MaxLength is the largest length of an IPv4 packet and of an IPv6 payload: the field has 16 bits.
const MaxLength = 1<<16 - 1

const maxHeader = 60 // of IPv4 and TCP: 15 words of 4 bytes

// expectedSize estimates the length of the packet, so that the buffer is usually allocated once.
func expectedSize(ls []gopacket.SerializableLayer) int {
	n := 0
	for _, l := range ls {
		switch l := l.(type) {
		case *layers.IPv4, *layers.TCP:
			n += 20
		case *layers.IPv6:
			n += 40
		case gopacket.Payload:
			n += len(l)
		default:
			n += 8
		}
	}
	return n
}

// fill sets the version and the next protocol of the network layer l if they are zero; rest are the layers after it.
func fill(l gopacket.SerializableLayer, rest []gopacket.SerializableLayer) {
	var next layers.IPProtocol // zero if unknown
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

// protocols has the protocol numbers of the layers that may follow an IP header.
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
