package netnsenv

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// Packets that find the queue full are dropped, which is an error of every method, and no gap in what is held.
func TestFullQueueIsAnError(t *testing.T) {
	t.Parallel()
	e, err := Open(t.Context(), Config{Silent: true})
	needs.Check(t, err)
	defer e.Close()
	q, err := e.hold(t.Context(), nf.Probe{}, 2)
	needs.Check(t, err)
	flow := packet.Flow{Src: netip.MustParseAddrPort("198.18.0.2:10000"), Dst: netip.MustParseAddrPort("192.0.2.1:80")}
	if _, err := inject.New(e.Links()[0]).Send(t.Context(), packet.SYNs(3, flow)); err != nil {
		t.Fatal(err)
	}

	held, errHeld := q.Held(t.Context())
	_, errWaiting := e.Waiting(t.Context())
	for _, err := range []error{errHeld, errWaiting, q.Release(t.Context(), held...)} {
		if !errors.Is(err, ErrQueueFull) {
			t.Errorf("with 1 of 3 packets dropped: %v, want ErrQueueFull", err)
		}
	}
	if len(held) != 2 {
		t.Errorf("%d packets are held, want 2", len(held))
	}
}
