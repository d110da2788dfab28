package inject

import (
	"encoding/binary"

	"github.com/google/gopacket"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

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
