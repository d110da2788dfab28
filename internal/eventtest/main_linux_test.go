// Package eventtest holds the recording of events to its rates, as the host's root where it can be: root may have a
// receive buffer of any size.
package eventtest

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func TestMain(m *testing.M) {
	netnsenv.EnterWith(netnsenv.Entry{RealRoot: os.Geteuid() == 0})
	os.Exit(m.Run())
}

// need skips the test if err says that something is missing here, and fails it on any other error. With
// CTEXP_REQUIRE=1 only what CTEXP_LACKS lists may be missing.
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
