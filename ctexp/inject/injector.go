package inject

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"syscall"
	"time"

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
// that the link refuses. A *SendError tells its number in seq, counted from 1; nothing behind it is sent. The same goes
// for the end of ctx. What was written before is final in these cases, too. Packets that were lost before the host began
// with them are counted in n and are an error.
func (i *Injector) Send(ctx context.Context, seq iter.Seq[Packet]) (n int, err error) {
	if seq == nil {
		panic("inject: Send of a nil sequence")
	}
	n, err = i.write(ctx, seq)
	if ferr := i.fence(ctx); ferr != nil {
		err = errors.Join(err, fmt.Errorf("send %d packets: %w", n, ferr))
	}
	return n, err
}

// write writes packets until seq or ctx ends or one fails.
func (i *Injector) write(ctx context.Context, seq iter.Seq[Packet]) (n int, err error) {
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

func (i *Injector) writeOne(p Packet, mtu int) error {
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

// grace is how long the fence may still take when ctx has ended before it: the caller wants to know what came of the
// packets that were sent.
const grace = time.Second

func (i *Injector) fence(ctx context.Context) error {
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
	}
	return i.link.Fence(ctx)
}
