package pktline

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

func (h packet) udp() string {
	var u layers.UDP
	err := u.DecodeFromBytes(h.body, gopacket.NilDecodeFeedback)
	switch {
	case len(h.body) < 8:
		return "UDP"
	case u.Length == 0 && h.size > math.MaxUint16: // a jumbogram has no length of its own
		return fmt.Sprintf("UDP, length %d", h.size-8)
	case err != nil || u.Length == 0 || h.frag == "" && int(u.Length) > h.size:
		return fmt.Sprintf("UDP, bad length %d", u.Length)
	}
	return fmt.Sprintf("UDP, length %d", u.Length-8)
}

func (h packet) udplite() string {
	if len(h.body) < 8 {
		return "UDP-Lite"
	}
	coverage := int(binary.BigEndian.Uint16(h.body[4:]))
	switch {
	case coverage == 0:
		return fmt.Sprintf("UDP-Lite, length %d", h.size-8)
	case coverage < 8 || h.frag == "" && coverage > h.size:
		return fmt.Sprintf("UDP-Lite, bad coverage %d, length %d", coverage, h.size-8)
	}
	return fmt.Sprintf("UDP-Lite, coverage %d, length %d", coverage, h.size-8)
}
