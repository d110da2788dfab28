package xdpflood

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"syscall"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
)

// Link is what Send floods the host by. *netnsenv.Link is one.
type Link interface {
	inject.Link
	// HardwareAddr returns the address of the host on the link, and PeerHardwareAddr that of who sends.
	HardwareAddr() nf.MAC
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

// check returns what the packets are made by, or what is wrong with them.
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

// frame returns the template as a frame.
func frame(link Link, template packet.Packet) []byte {
	dst, src := link.HardwareAddr(), link.PeerHardwareAddr()
	b := append(append([]byte(nil), dst[:]...), src[:]...)
	b = binary.BigEndian.AppendUint16(b, header.EtherTypeOf(template))
	return append(b, template...)
}

// plan says how many packets are to be sent now.
type plan struct {
	start    time.Time
	next     uint64        // number of the next packet
	n        uint64        // packets; the largest number: no limit
	duration time.Duration // 0: no limit
	rate     float64       // packets per second; 0: no limit
}

const (
	mostAtATime = 1024             // packets of a flood that time ends, lest it lasts too long
	leastPause  = time.Millisecond // so that a rate comes in bursts, which cost less than single packets
)

func newPlan(f inject.Flood) plan {
	p := plan{start: time.Now(), n: uint64(f.N), duration: f.Duration, rate: f.Rate}
	if f.N == 0 {
		p.n = math.MaxUint64
	}
	return p
}

// due returns how many packets are to be sent at once, at most so many.
func (p *plan) due(most int) int {
	n := min(p.n-p.next, uint64(most))
	took := time.Since(p.start)
	if p.duration > 0 {
		if took >= p.duration {
			return 0
		}
		n = min(n, mostAtATime)
	}
	if p.rate > 0 { // packet i is due after i/rate
		if due := took.Seconds() * p.rate; float64(p.next) <= due {
			n = min(n, uint64(due)-p.next+1)
		} else {
			n = 0
		}
	}
	return int(n)
}

// wait returns how long to wait for the next packet, and whether there is none.
func (p *plan) wait() (wait time.Duration, over bool) {
	took := time.Since(p.start)
	if p.next == p.n || p.duration > 0 && took >= p.duration {
		return 0, true
	}
	if p.rate == 0 {
		return 0, false
	}
	wait = time.Duration(float64(p.next)/p.rate*float64(time.Second)) - took + 1
	if wait <= 0 {
		return 0, false
	}
	wait = max(wait, leastPause)
	if p.duration > 0 {
		wait = min(wait, p.duration-took)
	}
	return wait, false
}
