package inject

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// FrameLink is a Link whose host sees Ethernet. *netnsenv.Link is one, and refuses frames where it is a tun.
type FrameLink interface {
	Link
	// WriteFrame hands one frame, from the Ethernet header on, to the host. It does not keep b.
	WriteFrame(b []byte) (int, error)
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

// SendFrames is Send for whole frames of Ethernet. On a link that has none the error is an *nf.UnsupportedError.
func (i *Injector) SendFrames(ctx context.Context, seq iter.Seq[Frame]) (n int, err error) {
	if seq == nil {
		panic("inject: SendFrames of a nil sequence")
	}
	link, ok := i.link.(FrameLink)
	if !ok || !link.L2() {
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
		written, err := link.WriteFrame(f)
		if err == nil && written < len(f) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return n, fmt.Errorf("send frame %d to %s: %w", n, link.Name(), err)
		}
		n++
	}
	return n, nil
}
