package ctexp_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func TestDiffTakesAddresses(t *testing.T) {
	t.Parallel()
	a := nf.Tuple{Proto: nf.TCP, Src: netip.MustParseAddrPort("192.0.2.1:80")}
	b := a
	b.Src = netip.MustParseAddrPort("192.0.2.1:81")
	if diff := ctexp.Diff(a, a); diff != "" {
		t.Errorf("equal values: %s", diff)
	}
	if diff := ctexp.Diff(a, b); !strings.Contains(diff, "192.0.2.1:81") {
		t.Errorf("got %s", diff)
	}
	if diff := ctexp.Diff([]nf.Tuple{}, []nf.Tuple(nil)); diff != "" {
		t.Errorf("empty and nil: %s", diff)
	}
}
