package xdpflood

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/flood"
	"github.com/ctexp/go-ctexp/internal/header"
)

// Link is a link on which Send sends, such as *netnsenv.Link.
type Link interface {
	inject.Link
	// HardwareAddr returns the host's address on the link.
	HardwareAddr() nf.MAC
	// PeerHardwareAddr returns the source address of the packets.
	PeerHardwareAddr() nf.MAC
	// WriteBy calls write with the index of the interface to send on, on a thread in its namespace; write passes at
	// most this many frames to it. WriteBy counts them for Fence.
	WriteBy(write func(ifindex, most int) (int, error)) (int, error)
	// Arrived returns the number of packets that the host has begun to process.
	Arrived() (uint64, error)
}

// maxBytes is the maximum size of a frame. The kernel needs the rest of the page before and behind it.
const maxBytes = 3000

var errNoEthernet = errors.New("live frames are frames of Ethernet, which the link has not: set LinkConfig.Kind to netnsenv.Veth")

// Send sends the flood on link and waits until the host has processed all packets. It fails before the first packet if
// the Flood is invalid, as Flood.Send does, or if a program cannot make it: with more than one of Queues, SCTP with
// fields that vary, a Random field with more than 2^32 values, or packets longer than 2986 bytes.
//
// A Rate is kept on average, in bursts. Flooded.Took begins when the program has been loaded. A link that is not a
// veth is an error. Without the host's root, or if the kernel lacks something, it is an *nf.UnsupportedError whose Need
// is "BPF".
//
// Send stops when ctx ends or the kernel returns an error. The packets sent before are counted and processed. Several
// floods may run at the same time, also on one link, where they alternate.
func Send(ctx context.Context, link Link, f inject.Flood) (inject.Flooded, error) {
	if flood.IsNil(link) {
		panic("xdpflood: Send by a nil Link")
	}
	done, err := send(ctx, link, f)
	if err != nil {
		err = fmt.Errorf("flood %s by XDP: %w", link.Name(), err)
	}
	return done, err
}

// check returns how to make the packets, or what is wrong with the Flood.
func check(link Link, f inject.Flood) (inject.Recipe, error) {
	r, err := f.Recipe()
	switch size := len(f.Template); {
	case err != nil:
		return r, err
	case size > link.MTU():
		return r, fmt.Errorf("%d bytes into an MTU of %d: %w", size, link.MTU(), syscall.EMSGSIZE)
	case header.EthernetSize+size > maxBytes:
		return r, fmt.Errorf("%d bytes: a live frame has room for %d: %w", size, maxBytes-header.EthernetSize, syscall.EMSGSIZE)
	case f.Queues > 1:
		return r, fmt.Errorf("%d queues: live frames go by one", f.Queues)
	}
	for i, v := range r.Fields {
		if v.Random && v.Count > 1<<32 {
			return r, fmt.Errorf("vary[%d] (%v): %d values at random: a program draws from 2^32 at most", i, f.Vary[i].Field, v.Count)
		}
	}
	if !link.L2() {
		return r, errNoEthernet
	}
	return r, nil
}
