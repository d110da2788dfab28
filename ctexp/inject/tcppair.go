package inject

import (
	"context"
	"fmt"
)

// pairStep is what one of two peers does.
type pairStep struct {
	who  *TCPPeer
	from *TCPPeer // who has sent what is expected; nil: who sends
	name string   // of the one who does it
	what Segment
}

// Handshake opens a connection between two peers, with a router between them: the six steps of both, in their order. The error
// says which of them failed. What ends the other peer's part, a reset or an ICMP error as for TCPPeer.Expect, ends it at once.
func Handshake(ctx context.Context, client, server *TCPPeer) error {
	if client == nil || server == nil {
		panic("inject: Handshake of a nil TCPPeer")
	}
	for _, p := range []*TCPPeer{client, server} {
		if err := p.isNew(); err != nil {
			return err
		}
	}
	return play(ctx, []pairStep{
		{client, nil, "client", Segment{Flags: FlagSYN}},
		{server, client, "server", Segment{Flags: FlagSYN}},
		{server, nil, "server", Segment{Flags: FlagSYN | FlagACK}},
		{client, server, "client", Segment{Flags: FlagSYN | FlagACK, Ack: new(uint32(1))}},
		{client, nil, "client", Segment{Flags: FlagACK}},
		{server, client, "server", Segment{Flags: FlagACK, Ack: new(uint32(1))}},
	})
}

// Teardown closes a connection between two peers, with a router between them: the FIN of the first, that of the second, and
// what acknowledges them. What either has sent or taken of this before is left out, as after a half close.
func Teardown(ctx context.Context, first, second *TCPPeer) error {
	if first == nil || second == nil {
		panic("inject: Teardown of a nil TCPPeer")
	}
	fin, ack := Segment{Flags: FlagFIN | FlagACK}, Segment{Flags: FlagACK}
	var steps []pairStep
	add := func(left bool, s pairStep) {
		if left {
			steps = append(steps, s)
		}
	}
	add(!first.finished, pairStep{first, nil, "first", fin})
	add(!second.closed, pairStep{second, first, "second", fin})
	if second.finished {
		steps = append(steps, pairStep{second, nil, "second", ack})
	} else {
		steps = append(steps, pairStep{second, nil, "second", fin})
	}
	if !first.closed {
		steps = append(steps, pairStep{first, second, "first", fin}, pairStep{first, nil, "first", ack})
	}
	if err := play(ctx, steps); err != nil {
		return err
	}
	for _, p := range []*TCPPeer{first, second} {
		if err := p.ExpectAck(ctx); err != nil {
			return err
		}
	}
	return nil
}

func play(ctx context.Context, steps []pairStep) error {
	for i, s := range steps {
		verb, err := "expects", error(nil)
		if s.from == nil {
			verb = "sends"
			_, err = s.who.Send(ctx, s.what)
		} else {
			_, err = s.who.expect(ctx, s.what, s.from)
		}
		if err != nil {
			return fmt.Errorf("step %d of %d, the %s %s [%v]: %w", i+1, len(steps), s.name, verb, s.what.Flags, err)
		}
	}
	return nil
}
