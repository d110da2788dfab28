package observe

import "github.com/ctexp/go-ctexp/ctexp/nf"

// fate is why an entry that nobody deleted is gone.
type fate int

const (
	removed       fate = iota // evicted, collected, or its time was over
	endedByPacket             // a packet ended it
	maybeReplaced             // a packet replaced it by a new entry of the same tuple; if there is none: unasked
)

// fateOf tells from the DESTROY event of an entry alone. Three things end an entry that has time left and that nobody
// deleted: early_drop and the garbage collector; a RST on a flow that never had an answer
// (net/netfilter/nf_conntrack_proto_tcp.c, nf_conntrack_tcp_packet, state CLOSE); a SYN that opens a closed connection again
// (there, TIME_WAIT or CLOSE), or a new flow whose NAT takes the place of one (nf_nat_core.c).
//
// Kernels before 86d21fc74745 ("netfilter: ctnetlink: add timeout and protoinfo to destroy events") tell neither the time
// that was left nor the state: there all count as unasked.
func fateOf(e nf.Entry) fate {
	switch {
	case e.Timeout == 0:
		return removed
	case e.State == nf.Close && !e.Status.Has(nf.SeenReply):
		return endedByPacket
	case e.State == nf.Close || e.State == nf.TimeWait:
		return maybeReplaced
	}
	return removed
}
