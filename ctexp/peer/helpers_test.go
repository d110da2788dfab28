package peer_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
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

// link is a Link that takes every packet and cannot be read.
type link struct {
	fence error
}

func (*link) Name() string                    { return "fake0" }
func (*link) MTU() int                        { return 1500 }
func (*link) L2() bool                        { return false }
func (*link) Read([]byte) (int, error)        { return 0, errors.ErrUnsupported }
func (*link) SetReadDeadline(time.Time) error { return errors.ErrUnsupported }
func (*link) Write(b []byte) (int, error)     { return len(b), nil }
func (l *link) Fence(context.Context) error   { return l.fence }

var mixed = packet.Flow{Src: web.Src, Dst: web6.Dst}
