package netnsenv_test

import (
	"errors"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// What hands over frames in a way of its own is told the interface, in its namespace, and how many may go at once: fewer than
// the backlog of a CPU has room for, where packets are moved to one.
func TestWriteByTellsWhereTo(t *testing.T) {
	t.Parallel()
	for mask, most := range map[string]int{"": 4096, "1": 256} {
		cfg := netnsenv.Config{Links: []netnsenv.LinkConfig{{Kind: netnsenv.Veth}}}
		if mask != "" {
			cfg.Sysctls = map[string]string{"net.core.rps_default_mask": mask}
		}
		e, err := netnsenv.Open(t.Context(), cfg)
		needs.Check(t, missingIfNoSysctl(err))
		defer e.Close()
		l := e.Links()[0]
		type told struct {
			Name string
			Most int
		}
		var got told
		failed := errors.New("failed")
		n, err := l.WriteBy(func(ifindex, most int) (int, error) {
			i, err := net.InterfaceByIndex(ifindex)
			if err != nil {
				return 0, err
			}
			got = told{i.Name, most}
			return 0, failed
		})
		if n != 0 || err != failed {
			t.Errorf("%d, %v", n, err)
		}
		if diff := cmp.Diff(told{l.Name(), most}, got); diff != "" {
			t.Errorf("mask %q (-want +got):\n%s", mask, diff)
		}
	}
}

func TestATunIsNotWrittenToOtherwise(t *testing.T) {
	t.Parallel()
	e, err := netnsenv.Open(t.Context(), netnsenv.Config{Links: []netnsenv.LinkConfig{{Kind: netnsenv.Tun}}})
	needs.Check(t, err)
	defer e.Close()
	_, err = e.Links()[0].WriteBy(func(int, int) (int, error) { panic("called") })
	var u *nf.UnsupportedError
	if !errors.As(err, &u) || u.Need != "a veth link" {
		t.Errorf("error %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}
