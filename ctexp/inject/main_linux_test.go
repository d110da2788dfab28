package inject_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Some tests put packets to a real kernel.
func TestMain(m *testing.M) {
	netnsenv.Enter()
	os.Exit(m.Run())
}

// need ends a test that this machine lacks something for: skipped, or failed where that was to be there.
func need(t testing.TB, err error) {
	t.Helper()
	var u *nf.UnsupportedError
	switch {
	case err == nil:
	case errors.As(err, &u) && (os.Getenv("CTEXP_REQUIRE") != "1" || lacks(u.Need)):
		t.Skip(err)
	default:
		t.Fatal(err)
	}
}

func lacks(need string) bool {
	for _, l := range strings.Split(os.Getenv("CTEXP_LACKS"), ",") {
		if strings.TrimSpace(l) == need {
			return true
		}
	}
	return false
}

// open returns an Env that ends with the test.
func open(t testing.TB, c netnsenv.Config) *netnsenv.Env {
	t.Helper()
	env, err := netnsenv.Open(t.Context(), c)
	need(t, err)
	t.Cleanup(func() {
		if err := env.Close(); err != nil {
			t.Error(err)
		}
	})
	return env
}
