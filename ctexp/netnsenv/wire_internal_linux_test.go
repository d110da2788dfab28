package netnsenv

import (
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/internal/needs"
)

// What an end of a wire has sent is what must arrive, until the wire is cut: then nothing does.
func TestSentCountsUntilTheWireIsCut(t *testing.T) {
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
	sent := func() uint64 {
		n, err := w.pipes[0].sent()
		if err != nil {
			t.Fatal(err)
		}
		return n
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

	if after != before+3 || cut != 0 {
		t.Errorf("%d packets are sent, then %d; want 3 more; and %d after the cut, want none", before, after, cut)
	}
}
