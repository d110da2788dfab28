// Package backlog counts the packets that a network namespace holds back: in the queues of its links (qdiscs), such as
// shapers, and in NFQUEUEs. What they will cause has not happened yet.
package backlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Queue holds packets back.
type Queue struct {
	Name    string // the kind of the qdisc, or the number of the NFQUEUE: "tbf", "NFQUEUE 5"
	Link    uint32 // the index of the link; zero for an NFQUEUE
	Packets int
}

// Qdiscs returns the qdiscs that hold packets, in the kernel's order. conn is a socket of NETLINK_ROUTE in the
// namespace. Where a qdisc has classes with qdiscs of their own,
// the kernel counts the packets of the inner ones in the outer one as well, so that only roots are returned.
func Qdiscs(conn *netlink.Conn) ([]Queue, error) {
	const (
		tcmsgSize = 20         // include/uapi/linux/rtnetlink.h, struct tcmsg
		root      = 0xFFFFFFFF // TC_H_ROOT, the parent of the qdisc of a link
	)
	answers, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETQDISC, Flags: netlink.Request | netlink.Dump}, Data: make([]byte, tcmsgSize),
	})
	if err != nil {
		return nil, fmt.Errorf("list qdiscs: %w", err)
	}
	var all []Queue
	for _, m := range answers {
		if len(m.Data) < tcmsgSize {
			return nil, errors.New("list qdiscs: short message")
		}
		q := Queue{Link: binary.NativeEndian.Uint32(m.Data[4:])}
		if binary.NativeEndian.Uint32(m.Data[12:]) != root {
			continue
		}
		a, err := netlink.NewAttributeDecoder(m.Data[tcmsgSize:])
		if err != nil {
			return nil, fmt.Errorf("list qdiscs: %w", err)
		}
		for a.Next() {
			switch a.Type() {
			case unix.TCA_KIND:
				q.Name = a.String()
			case unix.TCA_STATS: // include/uapi/linux/pkt_sched.h, struct tc_stats: qlen is its seventh number
				if b := a.Bytes(); len(b) >= 36 {
					q.Packets = int(binary.NativeEndian.Uint32(b[28:]))
				}
			}
		}
		if err := a.Err(); err != nil {
			return nil, fmt.Errorf("list qdiscs: %w", err)
		}
		if q.Packets > 0 {
			all = append(all, q)
		}
	}
	return all, nil
}

// NFQueues returns the NFQUEUEs that hold packets, in ascending order. Call it on a thread in the namespace.
func NFQueues() ([]Queue, error) {
	// Not /proc/net, which is that of the process's main thread.
	b, err := os.ReadFile("/proc/thread-self/net/netfilter/nfnetlink_queue")
	if errors.Is(err, fs.ErrNotExist) { // no such module
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Queue
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line) // net/netfilter/nfnetlink_queue.c, seq_show: number, port, packets held, …
		if len(f) < 3 {
			continue
		}
		if n, err := strconv.Atoi(f[2]); err == nil && n > 0 {
			all = append(all, Queue{Name: nfqueuePrefix + f[0], Packets: n})
		}
	}
	return all, nil
}

const nfqueuePrefix = "NFQUEUE "

// NFQueue returns the Name of an NFQUEUE.
func NFQueue(number uint16) string { return nfqueuePrefix + strconv.Itoa(int(number)) }

// Sum returns how many packets are held.
func Sum(all []Queue) (n int) {
	for _, q := range all {
		n += q.Packets
	}
	return n
}
