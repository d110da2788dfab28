package ctexp

import (
	"errors"
	"os"
	"os/exec"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// The environment variables that turn skips into failures; both are read inside the test, so that go test does not
// serve a cached skip.
const (
	envRequire = "CTEXP_REQUIRE" // 1: a skip is a failure …
	envLacks   = "CTEXP_LACKS"   // … unless its need is one of these, separated by commas
)

// cannot ends a test that cannot be done here: by a skip, or by a failure where nothing may be skipped.
func cannot(t TB, doing string, err error) {
	t.Helper()
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Fatalf("%s: %v", doing, err)
		return
	}
	need := "something"
	var u *nf.UnsupportedError
	if errors.As(err, &u) {
		need = u.Need
	}
	if os.Getenv(envRequire) == "1" && !lacks()[need] {
		t.Fatalf("%s: %v\n%s=1 allows no skip, and %s does not list %q", doing, err, envRequire, envLacks, need)
		return
	}
	t.Skipf("%s: %v", doing, err)
}

// Require ends the test like New does if err says that something cannot be done here, and fails it if it says anything
// else; a nil error does nothing. It is for what a test needs beside its Experiment.
func Require(t TB, doing string, err error) {
	t.Helper()
	if err != nil {
		cannot(t, doing, err)
	}
}

// lacks returns the needs that are listed as missing on this machine.
func lacks() map[string]bool {
	out := map[string]bool{}
	for _, need := range strings.Split(os.Getenv(envLacks), ",") {
		if need = strings.TrimSpace(need); need != "" {
			out[need] = true
		}
	}
	return out
}

// checkLacks fails a test on a machine that has what is listed as missing: the list would hide a skip some day.
func checkLacks(t TB, env *netnsenv.Env) {
	t.Helper()
	for need := range lacks() {
		there := false
		switch need {
		case "user namespaces":
			there = true
		case "/dev/net/tun":
			for _, l := range env.Links() {
				there = there || l.Kind() == netnsenv.Tun
			}
		default:
			_, err := exec.LookPath(need)
			there = err == nil
		}
		if there {
			t.Fatalf("%s lists %q, which is there", envLacks, need)
		}
	}
}
