package packet_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// sink is a Link that takes everything and keeps nothing.
type sink struct{ link }

func (*sink) Write(b []byte) (int, error) { return len(b), nil }

func (*sink) Fence(ctx context.Context) error { return ctx.Err() }

// link is a Link that keeps what is written, and notes the number of packets at each fence. Its MTU is 1500.
type link struct {
	mu      sync.Mutex
	written []packet.Packet
	fences  []int
	write   func(n int, b []byte) (int, error) // the answer to the nth packet; nil: all is well
	fence   func(ctx context.Context) error    // nil: at once
}

func (*link) Name() string { return "fake0" }

func (*link) MTU() int { return 1500 }

func (*link) L2() bool { return false }

func (*link) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }

func (*link) SetReadDeadline(time.Time) error { return errors.ErrUnsupported }

func (l *link) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.write != nil {
		if n, err := l.write(len(l.written), b); n < len(b) {
			return n, err
		}
	}
	l.written = append(l.written, slices.Clone(packet.Packet(b)))
	return len(b), nil
}

func (l *link) Fence(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fences = append(l.fences, len(l.written))
	if l.fence != nil {
		return l.fence(ctx)
	}
	return nil
}

// open returns an Env that ends with the test.
func open(t testing.TB, c netnsenv.Config) *netnsenv.Env {
	t.Helper()
	env, err := netnsenv.Open(t.Context(), c)
	needs.Check(t, err)
	t.Cleanup(func() {
		if err := env.Close(); err != nil {
			t.Error(err)
		}
	})
	return env
}

func readFile(file []byte) iter.Seq2[packet.Record, error] {
	return packet.ReadRecording(bytes.NewReader(file))
}
