package queues

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strconv"
)

// NFQueue is what the kernel counts in an NFQUEUE.
type NFQueue struct {
	Number  uint16
	Waiting uint64 // packets that wait for a verdict now
	Dropped uint64 // packets that the queue or its socket had no room for
	Came    uint64 // packets so far
}

// OpenNFQueues opens the kernel's list of the NFQUEUEs of the namespace of the calling thread. It can be read on any
// thread. The error is an fs.ErrNotExist if the kernel has none.
func OpenNFQueues() (*os.File, error) {
	// Not /proc/net, which is that of the process's main thread.
	return os.Open("/proc/thread-self/net/netfilter/nfnetlink_queue")
}

// NFQueues returns the NFQUEUEs of the namespace of the calling thread; none if the kernel has none.
func NFQueues() ([]NFQueue, error) {
	f, err := OpenNFQueues()
	if errors.Is(err, fs.ErrNotExist) { // no such module
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadNFQueues(f)
}

// ReadNFQueues reads what OpenNFQueues has opened (net/netfilter/nfnetlink_queue.c, seq_show): the number of a queue, its
// port, how many wait, how packets are copied, how many were dropped because the queue was full and because the socket
// was, and how many came.
func ReadNFQueues(list io.ReaderAt) ([]NFQueue, error) {
	text, err := io.ReadAll(io.NewSectionReader(list, 0, math.MaxInt64))
	if err != nil {
		return nil, err
	}
	var all []NFQueue
	for line := range bytes.Lines(text) {
		var n [8]uint64
		f := bytes.Fields(line)
		if len(f) < len(n) {
			return nil, fmt.Errorf("nfnetlink_queue: %q has %d fields: want 8 or more", line, len(f))
		}
		for i := range n {
			if n[i], err = strconv.ParseUint(string(f[i]), 10, 64); err != nil {
				return nil, fmt.Errorf("nfnetlink_queue: %w", err)
			}
		}
		all = append(all, NFQueue{Number: uint16(n[0]), Waiting: n[2], Dropped: n[5] + n[6], Came: n[7]})
	}
	return all, nil
}
