package ctexp

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

// Inject sends packets by the first link of the Env and returns how many were sent, when the kernel is done with all of them.
func (l *Lab) Inject(ctx context.Context, packets iter.Seq[inject.Packet]) (int, error) {
	link, err := l.firstLink()
	if err != nil {
		return 0, fmt.Errorf("ctexp: inject: %w", err)
	}
	return l.inject(ctx, link, packets)
}

// InjectBy is Inject by the link of that name.
func (l *Lab) InjectBy(ctx context.Context, link string, packets iter.Seq[inject.Packet]) (int, error) {
	to, err := l.linkNamed(link)
	if err != nil {
		return 0, fmt.Errorf("ctexp: inject: %w", err)
	}
	return l.inject(ctx, to, packets)
}

// InjectFrames is InjectBy for whole frames of Ethernet, which only veth links take: elsewhere the error is an *nf.UnsupportedError.
// What the host sends as frames (addresses, tags, ARP) the Observer has, see Experiment.InjectFrames.
func (l *Lab) InjectFrames(ctx context.Context, link string, frames iter.Seq[inject.Frame]) (int, error) {
	to, err := l.linkNamed(link)
	if err != nil {
		return 0, fmt.Errorf("ctexp: inject: %w", err)
	}
	return send(ctx, l, to, frames, inject.New(to).SendFrames)
}

func (l *Lab) inject(ctx context.Context, link *netnsenv.Link, packets iter.Seq[inject.Packet]) (int, error) {
	return send(ctx, l, link, packets, inject.New(link).Send)
}

// firstLink returns the link by which packets go unless another is named.
func (l *Lab) firstLink() (*netnsenv.Link, error) {
	links := l.Env.Links()
	if len(links) == 0 {
		return nil, errors.New("the Env has no link")
	}
	return links[0], nil
}

func (l *Lab) linkNamed(name string) (*netnsenv.Link, error) {
	link := l.Env.Link(name)
	if link == nil {
		return nil, l.noLink(name)
	}
	return link, nil
}

// noLink says why there is no link of that name, and which there are.
func (l *Lab) noLink(name string) error {
	var names []string
	for _, link := range l.Env.Links() {
		names = append(names, link.Name())
	}
	links := "it has none"
	if len(names) > 0 {
		links = "there are " + strings.Join(names, ", ")
	}
	if l.Env.Do(func() error { _, err := net.InterfaceByName(name); return err }) == nil {
		return fmt.Errorf("%s is a wire, or another interface that nothing is injected by; of links %s", name, links)
	}
	return fmt.Errorf("the Env has no link %q; %s", name, links)
}

// send lets Observer and Inbox take what they have seen once in a while, so that no buffer of the kernel runs over; behind
// each of the first packets, so that what the Observer hears of them has its place among them in the Timeline.
func send[T any](ctx context.Context, l *Lab, link *netnsenv.Link, seq iter.Seq[T],
	by func(context.Context, iter.Seq[T]) (int, error)) (int, error) {
	const often = 64 // by default the buffers of an ordinary user hold 300 events or frames, of which a packet may make several
	if seq == nil {
		return 0, errors.New("ctexp: inject: the sequence is nil")
	}
	var lost error // of what the host has sent meanwhile
	sent, err := by(ctx, func(yield func(T) bool) {
		n := 0
		for p := range seq {
			if n++; n > 1 && n <= often || n%often == 0 {
				l.Observer.Drain()
				if lost == nil {
					lost = l.Inbox.Drain()
				}
			}
			if !yield(p) {
				return
			}
		}
	})
	l.sent.Add(uint64(sent))
	l.Observer.Mark(ctx, fmt.Sprintf("%s by %s", packets(sent), link.Name()))
	return sent, errors.Join(err, lost)
}

// packets returns "1 packet", "2 packets".
func packets(n int) string {
	if n == 1 {
		return "1 packet"
	}
	return fmt.Sprintf("%d packets", n)
}

// Inject sends packets by the first link. When it returns the kernel is done with all of them.
func (x *Experiment) Inject(packets iter.Seq[inject.Packet]) {
	x.t.Helper()
	x.do("Inject", func(ctx context.Context) error {
		_, err := x.Lab.Inject(ctx, packets)
		return err
	})
}

// InjectBy sends packets by the link of that name. When it returns the kernel is done with all of them.
func (x *Experiment) InjectBy(link string, packets iter.Seq[inject.Packet]) {
	x.t.Helper()
	x.do("InjectBy", func(ctx context.Context) error {
		_, err := x.Lab.InjectBy(ctx, link, packets)
		return err
	})
}

// InjectFrames sends whole frames of Ethernet by the link of that name, which is a veth; the test skips where it is none.
//
// Expect sees packets alone. Frames that the host sends, with their addresses and tags, and ARP, are among x.Frames():
//
//	answer := observe.FrameMatch{Packet: nf.Match{Out: "eth0"}, EtherType: 0x0806, DstMAC: neighbour}
//	got := answer.Select(x.Frames())
func (x *Experiment) InjectFrames(link string, frames iter.Seq[inject.Frame]) {
	x.t.Helper()
	x.do("InjectFrames", func(ctx context.Context) error {
		_, err := x.Lab.InjectFrames(ctx, link, frames)
		return err
	})
}
