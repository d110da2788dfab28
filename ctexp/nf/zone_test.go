package nf_test

import (
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func TestZoneOfADirection(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		dir         nf.Direction
		orig, reply uint16
	}{{0, 5, 5}, {nf.Original, 5, 0}, {nf.Reply, 0, 5}} {
		e := nf.Entry{Zone: 5, ZoneDir: tt.dir}
		if orig, reply := e.ZoneOf(nf.Original), e.ZoneOf(nf.Reply); orig != tt.orig || reply != tt.reply {
			t.Errorf("%v: got %d and %d", tt.dir, orig, reply)
		}
	}
}
