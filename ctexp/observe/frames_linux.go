package observe

import (
	"context"
	"iter"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Frames returns the frames that went over all links since the Observer was opened until the iteration begins, in the
// order in which the kernel saw them. A frame that is forwarded is there twice, In and Out; what loopback carries,
// once, In; what was injected into the far end of a veth link, once, In.
//
// Where frames are missing the iteration ends in ErrFramesLost with how many: the kernel's buffer was full (call Drain
// while sending, or ask for a Ring), MaxFrames was reached, or a frame was larger than 64 KiB and is there in part.
// With Config.NoFrames the error is an nf.UnsupportedError.
func (o *Observer) Frames(ctx context.Context) iter.Seq2[Frame, error] {
	return recording(ctx, o, "frames", ErrFramesLost, o.captured)
}

func (o *Observer) captured(ctx context.Context) ([]Frame, lostFrames, error) {
	release, err := o.use(ctx)
	if err != nil {
		return nil, lostFrames{}, err
	}
	defer release()
	if o.capture == nil {
		return nil, lostFrames{}, &nf.UnsupportedError{Need: "frames", Hint: "the Observer was opened with NoFrames"}
	}
	if err := o.capture.Drain(); err != nil {
		return nil, lostFrames{}, err
	}
	if err := o.capture.countDropped(); err != nil {
		return nil, lostFrames{}, err
	}
	frames, lost := o.capture.log.snapshot()
	return frames, lost, nil
}
