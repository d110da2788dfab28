package packet_test

import (
	"bytes"
	"iter"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// open returns an Env that ends with the test.
func open(t testing.TB, c netnsenv.Config) *netnsenv.Env {
	t.Helper()
	env, err := netnsenv.Open(t.Context(), c)
	needs.Check(t, err)
	t.Cleanup(func() {
		if err := env.Close(); err != nil {
			t.Error(err)
		}
	})
	return env
}

func readFile(file []byte) iter.Seq2[packet.Record, error] {
	return packet.ReadRecording(bytes.NewReader(file))
}
