// Package needs ends tests that the machine lacks something for: by a skip that says what, or by a failure where skips are not
// allowed.
package needs

import (
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// The environment variables that turn skips into failures. They are read inside the test, so that go test serves no cached skip.
const (
	Require = "CTEXP_REQUIRE" // 1: a skip is a failure …
	Lacks   = "CTEXP_LACKS"   // … unless its need is one of these, separated by commas
)

// TB is what a test has of it.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// Check does nothing if err is nil. It skips the test if err answers to errors.ErrUnsupported, or fails it where this need may
// not be lacking; it fails it on any other error.
func Check(t TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case !errors.Is(err, errors.ErrUnsupported):
		t.Fatalf("%v", err)
	case Required(Of(err)):
		t.Fatalf("%v\n%s=1 allows no skip, and %s does not list %q", err, Require, Lacks, Of(err))
	default:
		t.Skipf("%v", err)
	}
}

// Of returns the need that err tells of, "something" if it does not say.
func Of(err error) string {
	var u *nf.UnsupportedError
	if errors.As(err, &u) {
		return u.Need
	}
	return "something"
}

// Required reports whether a test must not skip for lack of need.
func Required(need string) bool {
	return os.Getenv(Require) == "1" && !slices.Contains(Listed(), need)
}

// Listed returns what is said to be lacking on this machine.
func Listed() []string {
	var listed []string
	for _, need := range strings.Split(os.Getenv(Lacks), ",") {
		if need = strings.TrimSpace(need); need != "" {
			listed = append(listed, need)
		}
	}
	return listed
}
