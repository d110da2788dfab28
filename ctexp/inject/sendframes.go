package inject

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"syscall"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// FrameLink is a Link whose host sees Ethernet. *netnsenv.Link is one, and refuses frames where it is a tun.
type FrameLink interface {
	Link
	// WriteFrame hands one frame, from the Ethernet header on, to the host. It does not keep b.
	WriteFrame(b []byte) (int, error)
	// HardwareAddr returns the address of Ethernet that the host has on the link, PeerHardwareAddr the one that packets come
	// from that are written without a header.
	HardwareAddr() nf.MAC
	PeerHardwareAddr() nf.MAC
}

// ethernet returns the link if it is one with Ethernet, else nil.
func (i *Injector) ethernet() FrameLink {
	if link, ok := i.link.(FrameLink); ok && link.L2() {
		return link
	}
	return nil
}

// Frames returns copies of the frames in their order.
func Frames(fs ...Frame) iter.Seq[Frame] {
	return func(yield func(Frame) bool) {
		for _, f := range fs {
			if !yield(slices.Clone(f)) {
				return
			}
		}
	}
}

// SendFrames is Send for whole frames of Ethernet. What a frame carries behind its header and tags must fit into the link's
// MTU, and the tags beyond one as well, which is all that a veth takes more. On a link that has no Ethernet the error is an
// *nf.UnsupportedError.
func (i *Injector) SendFrames(ctx context.Context, seq iter.Seq[Frame]) (n int, err error) {
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
	if ferr := i.fence(ctx); ferr != nil {
		err = errors.Join(err, fmt.Errorf("send %d frames: %w", n, ferr))
	}
	return n, err
}

func writeFrames(ctx context.Context, link FrameLink, seq iter.Seq[Frame]) (n int, err error) {
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

func writeFrame(link FrameLink, f Frame) error {
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
