package nfnl_test

import (
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func TestGetFindsEntriesByEitherTuple(t *testing.T) {
	t.Parallel()
	env, c := open(t)
	tcp := web
	tcp.Helper, tcp.Labels, tcp.ID = "", "", 0 // as in a namespace without helpers and label rules
	for _, want := range []nf.Entry{tcp, ping} {
		if err := env.Table().Create(want); err != nil {
			t.Fatal(err)
		}
		for _, tuple := range []nf.Tuple{want.Orig, want.Reply} {
			got, err := c.Get(tuple, want.Zone)
			if err != nil {
				t.Fatal(err)
			}
			if got.Timeout > want.Timeout || got.Timeout < want.Timeout-20*time.Second || got.ID == 0 {
				t.Errorf("timeout %v, id %d", got.Timeout, got.ID)
			}
			got.Timeout, got.ID, got.Start = want.Timeout, 0, time.Time{}
			if diff := cmp.Diff(want, got, comparable); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
		if _, err := c.Get(want.Orig, want.Zone+1); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("in another zone: %v", err)
		}
	}
}

func TestGetWithoutAddressesIsAnError(t *testing.T) {
	t.Parallel()
	_, c := open(t)
	for _, tuple := range []nf.Tuple{{}, {Proto: nf.TCP, Src: web.Orig.Src, Dst: ping.Orig.Dst}} {
		if _, err := c.Get(tuple, 0); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v: %v", tuple, err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	env, c := open(b)
	if err := env.Table().Create(ping); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Get(ping.Orig, 0); err != nil {
			b.Fatal(err)
		}
	}
}
