package netnsenv

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/internal/needs"
)

// What the ends of a wire have sent is what must arrive, until the wire is cut: then nothing does.
func TestPacketsSentCountUntilTheWireIsCut(t *testing.T) {
	t.Parallel()
	var envs [2]*Env
	for i := range envs {
		e, err := Open(t.Context(), Config{Links: []LinkConfig{}, NoPath: true, Silent: true})
		needs.Check(t, err)
		defer e.Close()
		envs[i] = e
	}
	end := func(prefix string) LinkConfig {
		return LinkConfig{Prefixes: []netip.Prefix{netip.MustParsePrefix(prefix)}}
	}
	if err := Join(t.Context(), envs[0], envs[1], Wire{A: end("10.0.0.1/24"), B: end("10.0.0.2/24")}); err != nil {
		t.Fatal(err)
	}
	w := envs[0].wires[0]
	sent := func() []uint64 {
		all, err := sentBy(w.pipes[:])
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	before := sent()
	c, err := envs[0].Dial(t.Context(), "udp", "10.0.0.2:9") // the other end, which does not answer
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}

	after := sent()
	w.cut.Store(true)
	cut := sent()

	if diff := cmp.Diff([][]uint64{{before[0] + 3, before[1]}, {0, 0}}, [][]uint64{after, cut}); diff != "" {
		t.Errorf("sent, and after the cut (-want +got):\n%s", diff)
	}
}
