package inject

import "github.com/ctexp/go-ctexp/internal/pktline"

// TCPFlags is a set of the control bits of a TCP header.
type TCPFlags uint8

// The control bits. They are not called SYN and so on because those are the packets.
const (
	FlagFIN TCPFlags = 1 << iota
	FlagSYN
	FlagRST
	FlagPSH
	FlagACK
	FlagURG
	FlagECE
	FlagCWR
)

// Contains reports whether all flags of want are in f.
func (f TCPFlags) Contains(want TCPFlags) bool { return f&want == want }

// String returns the flags as tcpdump writes them: "S", "S.", "F.", and "none" for none.
func (f TCPFlags) String() string { return pktline.Flags(uint8(f)) }
