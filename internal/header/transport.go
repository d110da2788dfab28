package header

import "encoding/binary"

// Lengths of transport headers without options.
const (
	TCPSize  = 20
	UDPSize  = 8
	ICMPSize = 8
)

// Data returns what TCP, UDP, ICMP or ICMPv6 carry behind their header, which l4 begins with, in place: behind the options
// of TCP, and up to the end that UDP claims. It is nil for other protocols, for a header that is cut, and where TCP claims
// less than 20 bytes of header, which Linux drops (net/ipv4/tcp_ipv4.c, tcp_v4_rcv).
func Data(proto uint8, l4 []byte) []byte {
	size, end := 0, len(l4)
	switch {
	case proto == ProtoTCP && len(l4) >= TCPSize:
		if size = int(l4[12]>>4) * 4; size < TCPSize {
			return nil
		}
	case proto == ProtoUDP && len(l4) >= UDPSize:
		size = UDPSize
		if n := int(binary.BigEndian.Uint16(l4[4:])); n >= size {
			end = min(end, n)
		}
	case proto == ProtoICMP || proto == ProtoICMPv6:
		size = ICMPSize
	}
	if size == 0 || size > end {
		return nil
	}
	return l4[size:end:end]
}
