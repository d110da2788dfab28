package ctexp

import (
	"context"

	"github.com/ctexp/go-ctexp/ctexp/inject"
)

// Expect takes the first packet that the host has sent, that nobody has taken yet and that w means, whatever came before
// it. It waits for what sockets and timers of the host send, until the test's deadline, 10 s at most; see Inbox.Patience.
// If none comes the test fails, with what was wanted, the nearest packet and every packet that came.
func (x *Experiment) Expect(w inject.Want) (p inject.Packet) {
	x.t.Helper()
	x.do("Expect", func(ctx context.Context) error {
		a, err := x.Inbox.Expect(ctx, w)
		p = a.Packet
		return err
	})
	return p
}

// ExpectNothing fails the test if the host has sent a packet that one of wants means, whatever its checksums are, and that
// nobody has taken; without wants, if it has sent any. It does not wait.
func (x *Experiment) ExpectNothing(wants ...inject.Want) {
	x.t.Helper()
	x.do("ExpectNothing", func(ctx context.Context) error { return x.Inbox.ExpectNothing(ctx, wants...) })
}

// Received takes all packets that the host has sent and that nobody has taken yet, those of each link in their order, one
// link after the other. It does not wait.
func (x *Experiment) Received() []inject.Arrival {
	x.t.Helper()
	return ask(x, "Received", x.Inbox.Received)
}
