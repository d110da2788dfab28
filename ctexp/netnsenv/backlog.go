package netnsenv

import "fmt"

// Backlog is a queue in the namespace that holds packets back.
type Backlog struct {
	By      string // the kind of the qdisc, or the number of the NFQUEUE: "tbf", "NFQUEUE 5"
	Link    string // the link of the qdisc; empty for an NFQUEUE
	Packets int    // that it holds
}

// String returns "4 packets by the qdisc tbf of tun1".
func (h Backlog) String() string {
	n := fmt.Sprintf("%d packets", h.Packets)
	if h.Packets == 1 {
		n = "1 packet"
	}
	if h.Link == "" {
		return n + " by " + h.By
	}
	return fmt.Sprintf("%s by the qdisc %s of %s", n, h.By, h.Link)
}
