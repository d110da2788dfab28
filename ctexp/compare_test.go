package ctexp_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
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

// Two packets whose lines are the same differ in what Diff shows.
func TestDiffShowsTheFieldsOfPackets(t *testing.T) {
	t.Parallel()
	p := packet.SYN(web)
	want, got := []packet.Record{p.On("tun1", packet.Out)}, []packet.Record{p.With(packet.TTL(63)).On("tun1", packet.Out)}
	if diff := ctexp.Diff(want, got); !strings.Contains(diff, `"ttl"`) || !strings.Contains(diff, `"63"`) {
		t.Errorf("got %s", diff)
	}
	if diff := ctexp.Diff(want, want); diff != "" {
		t.Errorf("equal packets: %s", diff)
	}
}
