package observe

import (
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func TestDiagramOfAFullTable(t *testing.T) {
	t.Parallel()
	golden(t, "path-full-table.txt", fullTable().String())
}

// Packets of both families that get lost everywhere.
func TestDiagramOfARouter(t *testing.T) {
	t.Parallel()
	n := uint64(20000)
	p := pathOf(func(p nf.Probe) uint64 {
		if n -= 7; p.Hook == nf.Forward && p.Priority < 0 {
			n -= 500
		}
		return n
	})
	p.Dropped, p.Invalid, p.Silenced = 9, 2, 1
	golden(t, "path-router.txt", p.String())
}

func TestDiagramOfNothing(t *testing.T) {
	t.Parallel()
	if got := (Path{}).String(); got != "no packet met a probe\n" {
		t.Errorf("got %q", got)
	}
}
