package pktline

import (
	"fmt"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/internal/header"
)

// Decode returns the layers of the packet b, which begins at the network layer. It copies b and never panics: what
// cannot be decoded stands in the result's ErrorLayer.
func Decode(b []byte) gopacket.Packet {
	first := gopacket.Decoder(gopacket.DecodeFunc(decodeUnknown))
	switch header.Version(b) {
	case 4:
		first = layers.LayerTypeIPv4
	case 6:
		first = layers.LayerTypeIPv6
	}
	return gopacket.NewPacket(b, first, gopacket.Default)
}

func decodeUnknown(b []byte, _ gopacket.PacketBuilder) error {
	if len(b) == 0 {
		return fmt.Errorf("empty packet")
	}
	return fmt.Errorf("IP version %d is neither 4 nor 6", header.Version(b))
}
