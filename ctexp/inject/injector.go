package inject

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"syscall"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/flood"
	"github.com/ctexp/go-ctexp/internal/header"
)

// Injector sends packets on a link. It needs no Close, and is safe for concurrent use.
type Injector struct {
	link Link
}

// New returns an Injector that sends on link. It panics if link is nil, as Env.Link is for a name that no link has.
func New(link Link) *Injector {
	if flood.IsNil(link) {
		panic("inject: New of a nil Link: Env.Link returns nil if there is none of that name")
	}
	return &Injector{link: link}
}

// Send writes the packets of seq to the link, one after the other, and waits until the host under test has processed
// them: counters, table and capture are final when it returns. n is the number of packets written.
//
// It stops at the first packet that cannot be sent: an empty one, one larger than the link's MTU (syscall.EMSGSIZE), one
// that the link refuses. The error is a *SendError with its number in seq, counted from 1. It also stops when ctx is done.
// Packets written before are final in these cases, too. Packets that were lost before the host received them are counted in
// n and are an error.
func (i *Injector) Send(ctx context.Context, seq iter.Seq[packet.Packet]) (n int, err error) {
	if seq == nil {
		panic("inject: Send of a nil sequence")
	}
	n, err = i.write(ctx, seq)
	if ferr := flood.Fence(ctx, i.link); ferr != nil && !(errors.Is(err, os.ErrClosed) && errors.Is(ferr, os.ErrClosed)) {
		err = errors.Join(err, fmt.Errorf("send %d packets: %w", n, ferr))
	}
	return n, err
}

// write writes packets until seq or ctx ends or one fails.
func (i *Injector) write(ctx context.Context, seq iter.Seq[packet.Packet]) (n int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("send: %w", err)
	}
	mtu := i.link.MTU()
	for p := range seq {
		if err := ctx.Err(); err != nil {
			return n, fmt.Errorf("send: stopped after %d packets: %w", n, err)
		}
		if err := i.writeOne(p, mtu); err != nil {
			return n, &SendError{"packet", n + 1, i.link.Name(), err}
		}
		n++
	}
	return n, nil
}

func (i *Injector) writeOne(p packet.Packet, mtu int) error {
	switch {
	case len(p) == 0:
		return errors.New("it is empty")
	case len(p) > mtu:
		return fmt.Errorf("%d bytes into an MTU of %d: %w", len(p), mtu, syscall.EMSGSIZE)
	}
	n, err := i.link.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if v := header.Version(p); v != 4 && v != 6 && errors.Is(err, syscall.EINVAL) && !i.link.L2() {
		err = fmt.Errorf("IP version %d: a tun takes only IPv4 and IPv6: use a veth (LinkConfig.Kind): %w", v, err)
	}
	return err
}

// Link is what an Injector writes to: one link of the host under test, seen from outside. *netnsenv.Link implements it.
// Its methods must be safe for concurrent use.
type Link interface {
	// Name returns the name of the interface in the host.
	Name() string
	// MTU returns the largest packet that fits, in bytes from the network layer.
	MTU() int
	// L2 reports whether the link has Ethernet. Packets are written without an Ethernet header in any case.
	L2() bool
	// Write passes one packet, from the network layer on, to the host. It does not keep b.
	Write(b []byte) (int, error)
	// Fence returns when the host has processed every packet that was written before, so that counters, table and
	// capture are final. Packets that were lost before the host received them are an error.
	Fence(ctx context.Context) error
}

// SendError is the error of a packet or frame that could not be sent. Those before it in its sequence were sent.
type SendError struct {
	// What is "packet" or "frame".
	What string
	// Number is the position in the sequence, counted from 1.
	Number int
	// Link is the name of the link.
	Link string
	// Err is the reason.
	Err error
}

// Error returns "send packet 3 to tun0: …".
func (e *SendError) Error() string {
	return fmt.Sprintf("send %s %d to %s: %v", e.What, e.Number, e.Link, e.Err)
}

// Unwrap returns Err.
func (e *SendError) Unwrap() error { return e.Err }

// FrameLink is a Link with Ethernet. *netnsenv.Link implements it; a tun refuses frames.
type FrameLink interface {
	Link
	// WriteFrame passes one frame, from the Ethernet header on, to the host. It does not keep b.
	WriteFrame(b []byte) (int, error)
	// HardwareAddr returns the host's Ethernet address on the link.
	HardwareAddr() nf.MAC
	// PeerHardwareAddr returns the source address of packets that are written without an Ethernet header.
	PeerHardwareAddr() nf.MAC
}

// ethernet returns the link if it has Ethernet, else nil.
func (i *Injector) ethernet() FrameLink {
	if link, ok := i.link.(FrameLink); ok && link.L2() {
		return link
	}
	return nil
}

// SendFrames is Send for whole Ethernet frames. The payload of a frame, and all tags but one, must fit into the link's MTU. On a
// link without Ethernet it is an error.
func (i *Injector) SendFrames(ctx context.Context, seq iter.Seq[packet.Frame]) (n int, err error) {
	if seq == nil {
		panic("inject: SendFrames of a nil sequence")
	}
	link := i.ethernet()
	if link == nil {
		return 0, fmt.Errorf("send frames to %s: the link has no Ethernet: set LinkConfig.Kind to netnsenv.Veth", i.link.Name())
	}
	n, err = writeFrames(ctx, link, seq)
	if ferr := flood.Fence(ctx, i.link); ferr != nil && !(errors.Is(err, os.ErrClosed) && errors.Is(ferr, os.ErrClosed)) {
		err = errors.Join(err, fmt.Errorf("send %d frames: %w", n, ferr))
	}
	return n, err
}

func writeFrames(ctx context.Context, link FrameLink, seq iter.Seq[packet.Frame]) (n int, err error) {
	for f := range seq {
		if err := ctx.Err(); err != nil {
			return n, fmt.Errorf("send: stopped after %d frames: %w", n, err)
		}
		if err := writeFrame(link, f); err != nil {
			return n, &SendError{"frame", n + 1, link.Name(), err}
		}
		n++
	}
	return n, nil
}

func writeFrame(link FrameLink, f packet.Frame) error {
	if len(f) < header.EthernetSize {
		return fmt.Errorf("%s: want %d or more", counted(len(f), "byte"), header.EthernetSize)
	}
	h := header.ParseFrame(f)
	mtu := link.MTU()
	if payload := len(f) - h.Payload; payload > mtu && !h.Cut {
		return fmt.Errorf("%d bytes into an MTU of %d: %w", payload, mtu, syscall.EMSGSIZE)
	}
	// The kernel has room for one tag more (net/packet/af_packet.c, packet_snd).
	if maxLen := header.EthernetSize + 4 + mtu; len(f) > maxLen {
		return fmt.Errorf("%d bytes with %d tags into %d: %w", len(f), h.Tags, maxLen, syscall.EMSGSIZE)
	}
	n, err := link.WriteFrame(f)
	if err == nil && n < len(f) {
		err = io.ErrShortWrite
	}
	return err
}
