// Package needs ends a test that needs something the machine does not have. Check skips the test with the need as the
// reason, or fails it if such a skip is not allowed.
package needs

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/plain"
)

// Environment variables that turn skips into failures. They are read inside the test, so that go test does not reuse a
// cached skip after they change.
const (
	Require = "CTEXP_REQUIRE" // if it is On, a skip is a failure unless its need is listed in Lacks
	Lacks   = "CTEXP_LACKS"   // the needs that this machine cannot meet, separated by commas
)

// TB is the part of testing.TB that Check uses.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// Check does nothing if err is nil. If err matches errors.ErrUnsupported, and not by an errno alone, it skips the test, or fails it if the need is
// Required. It fails the test on any other error.
func Check(t TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case !isLack(err):
		t.Fatalf("%s", plain.Text(err.Error()))
	case Required(Of(err)):
		t.Fatalf("%s\n%s=1 allows no skip, and %s does not list %q", plain.Text(err.Error()), Require, Lacks, Of(err))
	default:
		t.Skipf("%v", shown{err}) // as an error, for a TB that passes it on
	}
}

// shown is an error whose text is harmless.
type shown struct{ error }

// Error implements error.
func (s shown) Error() string { return plain.Text(s.error.Error()) }

// Unwrap returns the error as it is.
func (s shown) Unwrap() error { return s.error }

// isLack reports whether err proves that something is missing. Package syscall lets EOPNOTSUPP, ENOSYS and ENOTSUP match
// errors.ErrUnsupported, but such an errno alone may as well be the kernel's refusal of a wrong request.
func isLack(err error) bool {
	var lack *nf.UnsupportedError
	var errno syscall.Errno
	return errors.As(err, &lack) || errors.Is(err, errors.ErrUnsupported) && !errors.As(err, &errno)
}

// Of returns the need of the nf.UnsupportedError in err, or "something" if there is none.
func Of(err error) string {
	var u *nf.UnsupportedError
	if errors.As(err, &u) {
		return u.Need
	}
	return "something"
}

// Required reports whether a test must fail rather than skip if the need is not met.
func Required(need string) bool {
	return On(Require) && !slices.Contains(Listed(), need)
}

// On reports whether an environment variable is a switch that is on: it has a value, and none that strconv.ParseBool takes for false, such as
// 0. So yes and true are what who writes them means, and a skip is not allowed by a word that nobody knows.
func On(variable string) bool {
	value := strings.TrimSpace(os.Getenv(variable))
	on, err := strconv.ParseBool(value)
	return value != "" && (on || err != nil)
}

// Listed returns the needs in the environment variable Lacks.
func Listed() []string {
	var listed []string
	for _, need := range strings.Split(os.Getenv(Lacks), ",") {
		if need = strings.TrimSpace(need); need != "" {
			listed = append(listed, need)
		}
	}
	return listed
}

// SkipExamples leaves out the examples of a test binary, which cannot skip by themselves, if open fails because the machine lacks
// something that is not Required. Call it in TestMain before the tests run; with CTEXP_REQUIRE the examples fail.
func SkipExamples(open func() error) {
	err := open()
	if err == nil || !isLack(err) || Required(Of(err)) {
		return
	}
	fmt.Fprintf(os.Stderr, "examples are left out: %s\n", plain.Text(err.Error()))
	if err := flag.Set("test.skip", "^Example"); err != nil {
		panic(err) // a test binary has this flag
	}
}
