package inject_test

import (
	"os"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// Some tests put packets to a real kernel.
func TestMain(m *testing.M) {
	netnsenv.Enter()
	os.Exit(m.Run())
}

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
