package observe

import (
	"bytes"
	"encoding/binary"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// unsummed returns a packet without what differs between the host's own packet in the hooks and the same on the wire: the
// checksum of its transport header, which may be left to the link, and that of the IPv4 header with the time to live, which
// a router changes.
func unsummed(packet []byte) []byte {
	p := bytes.Clone(packet)
	var proto nf.Proto
	transport := len(p)
	switch familyOf(p) {
	case nf.IPv4:
		if transport = int(p[0]&15) * 4; transport < 20 || len(p) < transport {
			return p
		}
		p[8], p[10], p[11] = 0, 0, 0
		proto = nf.Proto(p[9])
		if binary.BigEndian.Uint16(p[6:])&0x1fff != 0 { // a later fragment
			return p
		}
	case nf.IPv6:
		if len(p) < 40 {
			return p
		}
		p[7] = 0
		proto, transport = nf.Proto(p[6]), 40
	}
	if sum, ok := checksumAt[proto]; ok && len(p) >= transport+sum+2 {
		p[transport+sum], p[transport+sum+1] = 0, 0
	}
	return p
}

// checksumAt is where the checksum lies in a transport header.
var checksumAt = map[nf.Proto]int{nf.TCP: 16, nf.UDP: 6, nf.ICMP: 2, nf.ICMPv6: 2, nf.UDPLite: 6}
