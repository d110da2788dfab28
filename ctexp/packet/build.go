package packet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// Build returns the packet that consists of the layers, the first of which is an IPv4 or IPv6 header.
//
// What follows from the other layers is filled in: lengths and checksums always, each checksum with the network layer
// next before it; the IP version and the number of the next protocol where they are zero. The layers that are passed
// are not written to, so that several goroutines may build from the same ones; only what the options of an IPv6
// extension header point to is gopacket's to change.
//
// It returns an error for layers that do not make a packet: none, one that is nil, an Ethernet header at the front,
// more than 64 KiB, more than 40 bytes of options.
func Build(ls ...gopacket.SerializableLayer) (p Packet, err error) {
	defer func() { // an IPv4 option that is longer than its layer has room for makes gopacket panic
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

// prepare returns copies of the layers with the fields set that the lengths and checksums do not depend on.
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

// shallowCopy returns a layer like l that can be written to, since gopacket stores lengths and checksums in the
// layers that it serializes. It reports false if l is nil.
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

// serialize writes l in front of buf. It refuses what gopacket would silently write into fields too small for it.
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
		if l.Checksum == 0 { // RFC 768: zero is sent as all ones, since zero means that there is none
			b[6], b[7] = 0xff, 0xff
		}
	}
	return nil
}

// MaxLength is the largest length of an IPv4 packet and of an IPv6 payload: its field has 16 bits.
const MaxLength = 1<<16 - 1

const maxHeader = 60 // of IPv4 and TCP: 15 words

// expectedSize guesses the length of the packet, so that it is mostly one allocation.
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

// protoText returns the protocol's name in capitals.
func protoText(p nf.Proto) string {
	names := map[nf.Proto]string{
		nf.TCP: "TCP", nf.UDP: "UDP", nf.UDPLite: "UDP-Lite", nf.ICMP: "ICMP", nf.ICMPv6: "ICMPv6", nf.SCTP: "SCTP",
		nf.DCCP: "DCCP", nf.GRE: "GRE", header.ProtoIGMP: "IGMP",
	}
	if n, ok := names[p]; ok {
		return n
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}

// headerLength returns the length of the transport header that l4 begins with, as far as it can be told; 0 where the
// protocol is not known.
func (d *draft) headerLength() int {
	n := 0
	switch d.proto {
	case nf.TCP:
		n = 20
		if len(d.l4) >= 20 {
			n = max(20, int(d.l4[12]>>4)*4)
		}
	case nf.UDP, nf.UDPLite, nf.ICMP, nf.ICMPv6, header.ProtoIGMP:
		n = 8
	case nf.SCTP:
		n = 12
	case nf.DCCP:
		n = 12
		if len(d.l4) >= 12 {
			n = max(12, int(d.l4[4])*4)
		}
	case nf.GRE:
		n = max(4, header.ParseGRE(d.l4).Length)
	}
	return n
}

// Raw returns a packet between f's addresses with any protocol number and any bytes behind the network header: VRRP,
// ESP, another whole packet (4, 41), garbage. It panics if they do not fit. The ports of f are not used.
func (f Flow) Raw(p nf.Proto, payload []byte) Packet {
	return mustBuild(network(f.Src.Addr(), f.Dst.Addr(), p), gopacket.Payload(payload))
}

// raw is Raw with the checksum of the transport header, of a protocol that gopacket does not serialize.
func (f Flow) raw(p nf.Proto, b []byte) Packet {
	addrs := append(f.Src.Addr().Unmap().AsSlice(), f.Dst.Addr().Unmap().AsSlice()...)
	header.SetTransportSum(uint8(p), addrs, b)
	return f.Raw(p, b)
}

// ports begins a transport header.
func (f Flow) ports() []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, f.Src.Port()), f.Dst.Port())
}
