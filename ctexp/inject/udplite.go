package inject

import (
	"encoding/binary"
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// UDPLite returns a datagram of UDP-Lite whose checksum covers its first bytes, the eight of the header included; 0
// covers all of it (RFC 3828). Conntrack calls each of them INVALID, because it checks them with the protocol number of
// UDP (net/netfilter/nf_conntrack_proto_udp.c, udplite_error, as of 6.18), unless net.netfilter.nf_conntrack_checksum is 0.
//
// It panics for a coverage of 1 to 7 bytes or of more than there are: With(UDPLength(n))
// makes such.
func (f Flow) UDPLite(coverage uint16, payload []byte) Packet {
	if coverage > 0 && coverage < 8 || int(coverage) > 8+len(payload) {
		panic(fmt.Sprintf("inject: a coverage of %d bytes in a datagram of %d", coverage, 8+len(payload)))
	}
	b := binary.BigEndian.AppendUint16(f.ports(), coverage)
	return f.raw(nf.UDPLite, append(append(b, 0, 0), payload...))
}
