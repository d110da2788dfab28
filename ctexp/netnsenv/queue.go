package netnsenv

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Held is a packet that waits in a Queue.
type Held struct {
	// ID is the number of the packet among those of all Queues of the Env, counted from 1 in the order in which they came.
	ID uint64
	// In and Out are the links by which the packet came in and will leave, as far as they are known in its hook.
	In, Out string
	// Hook is the hook in which the packet waits.
	Hook nf.Hook
	// Class is what conntrack calls the packet. A Hold behind conntrack knows it; a Queue of the user's rules if the kernel
	// was built with CONFIG_NETFILTER_NETLINK_GLUE_CT and the packet has an entry. Else it is zero.
	Class nf.Class
	// Mark is the mark of the packet ("meta mark"), not of its entry.
	Mark uint32
	// Packet begins at the network layer. It may end early if it is longer than 65,531 bytes.
	Packet packet.Packet
}

// String returns one line: "#1 forward client > server NEW IP 198.18.0.2.1000 > 192.0.2.1.53: UDP, length 3".
func (h Held) String() string {
	s := []string{fmt.Sprintf("#%d %v", h.ID, h.Hook)}
	if h.In != "" {
		s = append(s, h.In)
	}
	if h.Out != "" {
		s = append(s, "> "+h.Out)
	}
	if h.Class != nf.ClassUnknown {
		s = append(s, h.Class.String())
	}
	return strings.Join(append(s, h.Packet.String()), " ")
}

// Errors of a Queue.
var (
	// ErrQueueTaken says that another program, or another Queue, reads the queue of that number.
	ErrQueueTaken = errors.New("the queue has a reader")
	// ErrQueueFull says that the kernel dropped packets because there was no room for them in the queue.
	ErrQueueFull = errors.New("the queue was full")
	// ErrNotHeld says that packets are not in the queue, or no longer: a verdict was given, or the kernel dropped them.
	ErrNotHeld = errors.New("no longer held")
)

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
