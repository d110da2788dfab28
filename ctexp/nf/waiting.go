package nf

import "fmt"

// Waiting is a number of packets that wait in a queue (NFQUEUE) for a verdict: they are neither lost nor gone on.
type Waiting struct {
	Queue  uint16 // the number of the queue; of a queue per class, the first of them
	Family Family // of the packets
	Hook   Hook   // the hook in which they wait
	// From and To are the lowest and the highest priority that the chain with the queueing rule may have: equal if it is
	// known, PriorityFirst and PriorityConfirm if not.
	From, To int32
	Packets  uint64 // how many wait
}

// String returns "3 ipv4 packets held in forward by queue 5".
func (w Waiting) String() string {
	return fmt.Sprintf("%d %v packets held in %v by queue %d", w.Packets, w.Family, w.Hook, w.Queue)
}
