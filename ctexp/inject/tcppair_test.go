package inject_test

import (
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/inject"
)

// Two peers in one goroutine close from whatever they have begun.
func TestTeardownClosesTwoPeers(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(t *testing.T, first, second *inject.TCPPeer){
		"nothing":    func(*testing.T, *inject.TCPPeer, *inject.TCPPeer) {},
		"the first":  func(t *testing.T, first, _ *inject.TCPPeer) { must(t, first.Fin(t.Context())) },
		"the second": func(t *testing.T, _, second *inject.TCPPeer) { must(t, second.Fin(t.Context())) },
		"both": func(t *testing.T, first, second *inject.TCPPeer) {
			must(t, first.Fin(t.Context()), second.Fin(t.Context()))
		},
		"half, and was taken": func(t *testing.T, first, second *inject.TCPPeer) {
			must(t, second.Fin(t.Context()))
			_, err := first.Expect(t.Context(), inject.Segment{Flags: fin | ack})
			must(t, err, first.Ack(t.Context()), second.ExpectAck(t.Context()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := opened(t)
			before(t, w.client, w.server)
			must(t, inject.Teardown(t.Context(), w.client, w.server), w.inbox.ExpectNothing(t.Context()))
			got := [4]uint32{w.client.Next(), w.client.Expected(), w.server.Next(), w.server.Expected()}
			if want := [4]uint32{2, 2, 2, 2}; got != want {
				t.Errorf("the ends are at %v, want %v", got, want)
			}
		})
	}
}

// Data that nobody has read is not closed over.
func TestTeardownSaysWhereItFails(t *testing.T) {
	t.Parallel()
	w := opened(t)
	must(t, w.client.Write(t.Context(), []byte("unread")))
	err := inject.Teardown(t.Context(), w.client, w.server)
	if err == nil || !strings.HasPrefix(err.Error(), "step 2 of 5, the second expects [F.]: ") {
		t.Errorf("got %v", err)
	}
}

// A peer that has had a connection needs Reuse before it has another.
func TestAConnectionIsOpenedOnce(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := opened(t)
	half := newCable()
	_, err := half.client.Send(ctx, inject.Segment{Flags: syn})
	must(t, err)
	_, err = half.server.Expect(ctx, inject.Segment{Flags: syn})
	must(t, err)
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"Connect":           {w.client.Connect(ctx), w.client.Flow().String() + " is already connected; Reuse begins anew"},
		"Accept":            {w.server.Accept(ctx), "is already connected; Reuse begins anew"},
		"SimultaneousOpen":  {w.client.SimultaneousOpen(ctx), "is already connected; Reuse begins anew"},
		"Handshake":         {inject.Handshake(ctx, w.client, newCable().server), "is already connected; Reuse begins anew"},
		"of the server":     {inject.Handshake(ctx, newCable().client, w.server), "is already connected; Reuse begins anew"},
		"its SYN was sent":  {half.client.Connect(ctx), "has already sent a SYN; Reuse begins anew"},
		"its SYN was taken": {half.server.Accept(ctx), "has already taken a SYN; Reuse begins anew"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", name, c.err, c.want)
		}
	}
}

func TestPairsAndResetsRefuseWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	w := newCable()
	for name, f := range map[string]func(){
		"handshake": func() { inject.Handshake(t.Context(), w.client, nil) },
		"teardown":  func() { inject.Teardown(t.Context(), nil, w.server) },
		"reset":     func() { w.client.Reset(t.Context(), 9) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if r, ok := recover().(string); !ok || !strings.HasPrefix(r, "inject: ") {
					t.Errorf("got %v", r)
				}
			}()
			f()
		})
	}
	kinds := []string{inject.ResetExact.String(), inject.ResetInWindow.String(), inject.ResetOutOfWindow.String(), inject.ResetKind(9).String()}
	if got := strings.Join(kinds, ", "); got != "exact, in window, out of window, ResetKind(9)" {
		t.Errorf("got %s", got)
	}
}
