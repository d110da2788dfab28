package nf

import "strings"

// TCPFlags is a set of the control bits of a TCP header. The bits are the constants FlagFIN and so on of package packet, whose
// TCPFlags is this type.
type TCPFlags uint8

// Contains reports whether all flags of want are in f.
func (f TCPFlags) Contains(want TCPFlags) bool { return f&want == want }

// String returns the flags as tcpdump writes them: "S", "S.", "F.", and "none" for none.
func (f TCPFlags) String() string {
	const letters = "FSRP.UEW" // from FIN to CWR
	if f == 0 {
		return "none"
	}
	var s []byte
	for i := range letters {
		if f&(1<<i) != 0 {
			s = append(s, letters[i])
		}
	}
	return string(s)
}

// words returns the flags as nft writes them: "syn | ack".
func (f TCPFlags) words() string {
	if f == 0 {
		return "0x0"
	}
	var s []string
	for i, name := range []string{"fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"} {
		if f&(1<<i) != 0 {
			s = append(s, name)
		}
	}
	return strings.Join(s, " | ")
}
