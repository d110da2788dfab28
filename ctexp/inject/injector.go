package inject

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"syscall"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/flood"
	"github.com/ctexp/go-ctexp/internal/header"
)

// Injector sends packets by a link. It holds nothing that needs closing, and its methods may be called by several
// goroutines at once.
type Injector struct {
	link Link
}

// New returns an Injector that sends by link.
func New(link Link) *Injector {
	if link == nil {
		panic("inject: New of a nil Link")
	}
	return &Injector{link: link}
}

// Send writes the packets of seq to the link, one after the other, and waits until the host under test is done with
// them: counters, table and capture are final when it returns. n is the number of packets written.
//
// The first packet that cannot be sent ends it: an empty one, one larger than the link's MTU (syscall.EMSGSIZE), one
// that the link refuses. A *SendError has its number in seq, counted from 1; nothing behind it is sent. The same goes
// for the end of ctx. What was written before is final in these cases, too. Packets that were lost before the host began
// with them are counted in n and are an error.
func (i *Injector) Send(ctx context.Context, seq iter.Seq[packet.Packet]) (n int, err error) {
	if seq == nil {
		panic("inject: Send of a nil sequence")
	}
	n, err = i.write(ctx, seq)
	if ferr := flood.Fence(ctx, i.link); ferr != nil {
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

// Link is what an Injector writes to: one link of a host under test, seen from outside. *netnsenv.Link is one.
// Its methods may be called by several goroutines at once.
type Link interface {
	// Name returns the name of the interface that the host sees.
	Name() string
	// MTU returns the largest packet that fits, in bytes from the network layer.
	MTU() int
	// L2 reports whether the host sees frames of Ethernet. Packets are written without that header in any case.
	L2() bool
	// Write hands one packet, from the network layer on, to the host. It does not keep b.
	Write(b []byte) (int, error)
	// Fence returns when the host is done with every packet that was written before, so that counters, table and
	// capture are final. Packets that were lost before the host began with them are an error.
	Fence(ctx context.Context) error
}

// SendError is what became of a packet or frame that could not be sent. What was before it in its sequence was sent.
type SendError struct {
	// What is "packet" or "frame".
	What string
	// Number is that in its sequence, counted from 1.
	Number int
	// Link is the name of the link.
	Link string
	// Err is why.
	Err error
}

// Error returns "send packet 3 to tun0: …".
func (e *SendError) Error() string {
	return fmt.Sprintf("send %s %d to %s: %v", e.What, e.Number, e.Link, e.Err)
}

// Unwrap returns why.
func (e *SendError) Unwrap() error { return e.Err }

// FrameLink is a Link whose host sees Ethernet. *netnsenv.Link is one, and refuses frames where it is a tun.
type FrameLink interface {
	Link
	// WriteFrame hands one frame, from the Ethernet header on, to the host. It does not keep b.
	WriteFrame(b []byte) (int, error)
	// HardwareAddr returns the address of Ethernet that the host has on the link.
	HardwareAddr() nf.MAC
	// PeerHardwareAddr returns the address that packets come from that are written without a header.
	PeerHardwareAddr() nf.MAC
}

// ethernet returns the link if it is one with Ethernet, else nil.
func (i *Injector) ethernet() FrameLink {
	if link, ok := i.link.(FrameLink); ok && link.L2() {
		return link
	}
	return nil
}

// SendFrames is Send for whole frames of Ethernet. What a frame carries behind its header and tags must fit into the link's
// MTU, and the tags beyond one as well, which is all that a veth takes more. On a link that has no Ethernet the error is an
// *nf.UnsupportedError.
func (i *Injector) SendFrames(ctx context.Context, seq iter.Seq[packet.Frame]) (n int, err error) {
	if seq == nil {
		panic("inject: SendFrames of a nil sequence")
	}
	link := i.ethernet()
	if link == nil {
		return 0, fmt.Errorf("send frames to %s: %w", i.link.Name(), &nf.UnsupportedError{
			Need: "a veth link", Hint: "LinkConfig.Kind: netnsenv.Veth",
			Err: errors.New("the link has no Ethernet"),
		})
	}
	n, err = writeFrames(ctx, link, seq)
	if ferr := flood.Fence(ctx, i.link); ferr != nil {
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
	if most := header.EthernetSize + 4 + mtu; len(f) > most {
		return fmt.Errorf("%d bytes with %d tags into %d: %w", len(f), h.Tags, most, syscall.EMSGSIZE)
	}
	n, err := link.WriteFrame(f)
	if err == nil && n < len(f) {
		err = io.ErrShortWrite
	}
	return err
}
