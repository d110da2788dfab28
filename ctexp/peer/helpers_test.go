package peer_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/packettest"
)

var web, web6 = packettest.Web, packettest.Web6

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file in testdata.
func golden(t *testing.T, file, got string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

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

var mixed = packet.Flow{Src: web.Src, Dst: web6.Dst}
