package xdpflood

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// Link is what Send floods the host by. *netnsenv.Link is one.
type Link interface {
	inject.Link
	// HardwareAddr returns the address of the host on the link.
	HardwareAddr() nf.MAC
	// PeerHardwareAddr returns the address that packets come from.
	PeerHardwareAddr() nf.MAC
	// WriteBy has write hand at most so many frames to the interface with that index, on a thread in its namespace, and
	// counts them for Fence.
	WriteBy(write func(ifindex, most int) (int, error)) (int, error)
	// Arrived returns how many packets the host has begun with.
	Arrived() (uint64, error)
}

// mostBytes of a frame: it must fit into a page with what the kernel has in front of it and behind it.
const mostBytes = 3000

var errNoEthernet = &nf.UnsupportedError{
	Need: "a veth link", Hint: "LinkConfig.Kind: netnsenv.Veth", Err: errors.New("live frames are frames of Ethernet"),
}

// Send floods the host by link and waits until it is done with everything. What is wrong with the Flood is an error before the
// first packet, as it is with Flood.Send. So is what is beyond a program: more than one of Queues, fields that vary under the
// checksum of SCTP, a Random field with more than 2^32 values, and packets longer than 2986 bytes.
//
// A Rate is kept in bursts. Flooded.Took begins when the program is there. On a link that is no veth the error is an
// *nf.UnsupportedError, and so it is without the host's root or in a kernel that lacks something: its Need is "BPF" then.
//
// The end of ctx ends the flood, as does what the kernel refuses; what was sent before is counted and final. Several floods may
// run at the same time, also by one link, where they take turns.
func Send(ctx context.Context, link Link, f inject.Flood) (inject.Flooded, error) {
	if link == nil {
		panic("xdpflood: Send by a nil Link")
	}
	done, err := send(ctx, link, f)
	if err != nil {
		err = fmt.Errorf("flood %s by XDP: %w", link.Name(), err)
	}
	return done, err
}

// check returns how the packets are made, or what is wrong with them.
func check(link Link, f inject.Flood) (inject.Recipe, error) {
	r, err := f.Recipe()
	switch size := len(f.Template); {
	case err != nil:
		return r, err
	case size > link.MTU():
		return r, fmt.Errorf("%d bytes into an MTU of %d: %w", size, link.MTU(), syscall.EMSGSIZE)
	case header.EthernetSize+size > mostBytes:
		return r, fmt.Errorf("%d bytes: a live frame has room for %d: %w", size, mostBytes-header.EthernetSize, syscall.EMSGSIZE)
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
