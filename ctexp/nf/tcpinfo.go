package nf

import (
	"fmt"
	"strings"
)

// TCPInfo is what the kernel knows of each side of a TCP flow beside its state (struct ip_ct_tcp_state). The windows
// themselves it does not export.
type TCPInfo struct{ Orig, Reply TCPSide }

// TCPSide is the side that sends in one direction.
type TCPSide struct {
	Scale uint8 // the shift that its window is scaled by; zero unless Flags has WindowScale
	Flags TCPTrackFlags
}

// TCPTrackFlags are the tracker's own notes about a side, not the flags of a segment
// (include/uapi/linux/netfilter/nf_conntrack_tcp.h, IP_CT_TCP_FLAG_*; the last ones are of nf_conntrack_tcp.c).
type TCPTrackFlags uint8

// The flags by the kernel's names.
const (
	WindowScale        TCPTrackFlags = 1 << iota // it has offered window scaling
	SACKPerm                                     // it has offered selective acknowledgements
	CloseInit                                    // it has sent a FIN
	BeLiberal                                    // its window is not checked
	DataUnacknowledged                           // it has data on the way
	MaxACKSet                                    // its highest acknowledgement is known
	ChallengeACK                                 // a challenge ACK was seen
	SimultaneousOpen                             // both sides opened at once
)

var tcpTrackNames = [...]string{
	"WINDOW_SCALE", "SACK_PERM", "CLOSE_INIT", "BE_LIBERAL", "DATA_UNACKNOWLEDGED", "MAXACK_SET", "CHALLENGE_ACK",
	"SIMULTANEOUS_OPEN",
}

// Has reports whether all flags of want are set in f.
func (f TCPTrackFlags) Has(want TCPTrackFlags) bool { return f&want == want }

// String returns the names of the flags that are set, joined by commas.
func (f TCPTrackFlags) String() string {
	var names []string
	for i, name := range tcpTrackNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// DirSeqShift has the shift of the sequence numbers for each direction.
type DirSeqShift struct{ Orig, Reply SeqShift }

// SeqShift is a shift of the TCP sequence numbers of a direction (struct nf_ct_seqadj). The zero SeqShift is none.
type SeqShift struct {
	Position      uint32 // the sequence number where the offset changes
	Before, After int32  // what is added to sequence numbers before and after it
}

// String prints the shift: "+4 from 1000 on, +0 before".
func (s SeqShift) String() string {
	return fmt.Sprintf("%+d from %d on, %+d before", s.After, s.Position, s.Before)
}

// SynProxy is what SYNPROXY remembers of the handshake that it has answered in the server's place (struct
// nf_conn_synproxy).
type SynProxy struct {
	ISN      uint32 // its initial sequence number
	ITS      uint32 // its initial timestamp
	TSOffset uint32 // between its timestamps and the server's
}
