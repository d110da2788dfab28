package inject

import (
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// UDP returns a datagram of f, empty where payload is nil. It panics if the payload does not fit.
func (f Flow) UDP(payload []byte) Packet {
	return mustBuild(
		network(f.Src.Addr(), f.Dst.Addr(), nf.UDP),
		&layers.UDP{SrcPort: layers.UDPPort(f.Src.Port()), DstPort: layers.UDPPort(f.Dst.Port())},
		gopacket.Payload(payload),
	)
}
