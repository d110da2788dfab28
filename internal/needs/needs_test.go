package needs

import (
	"errors"
	"flag"
	"fmt"
	"syscall"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// fake is a TB that records how the test ended.
type fake struct{ ended string }

func (*fake) Helper()                             {}
func (f *fake) Fatalf(format string, args ...any) { f.ended = "fails: " + fmt.Sprintf(format, args...) }
func (f *fake) Skipf(format string, args ...any)  { f.ended = "skips: " + fmt.Sprintf(format, args...) }

// A missing need skips the test, or fails it if the need is required. Any other error fails it.
func TestMissingNeedSkipsOrFails(t *testing.T) {
	wings := fmt.Errorf("fly: %w", &nf.UnsupportedError{Need: "wings", Hint: "grow some"})
	for _, tt := range []struct {
		name, require, lacks string
		err                  error
		want                 string
	}{
		{"no error", "1", "", nil, ""},
		{"missing need", "", "", wings, "skips: fly: needs wings (grow some)"},
		{"listed need", "1", "gills, wings", wings, "skips: fly: needs wings (grow some)"},
		{"need that is not listed", "1", "gills", wings, "fails: fly: needs wings (grow some)\nCTEXP_REQUIRE=1 allows no skip, and CTEXP_LACKS does not list \"wings\""},
		{"required by a word", "yes", "", wings, "fails: fly: needs wings (grow some)\nCTEXP_REQUIRE=1 allows no skip, and CTEXP_LACKS does not list \"wings\""},
		{"not required", "0", "", wings, "skips: fly: needs wings (grow some)"},
		{"need without a name", "1", "", errors.ErrUnsupported, "fails: unsupported operation\nCTEXP_REQUIRE=1 allows no skip, and CTEXP_LACKS does not list \"something\""},
		{"need with an errno", "", "", fmt.Errorf("fly: %w", &nf.UnsupportedError{Need: "wings", Err: syscall.EOPNOTSUPP}), "skips: fly: needs wings: operation not supported"},
		{"errno alone", "", "", fmt.Errorf("fly: %w", syscall.EOPNOTSUPP), "fails: fly: operation not supported"},
		{"hostile text", "", "", errors.New("\x1b[31m\u202e\n\xff"), "fails: \\x1b[31m\\u202e\n\\xff"},
		{"other error", "", "wings", errors.New("fell"), "fails: fell"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(Require, tt.require)
			t.Setenv(Lacks, tt.lacks)
			f := &fake{}

			Check(f, tt.err)

			if f.ended != tt.want {
				t.Errorf("got %q, want %q", f.ended, tt.want)
			}
		})
	}
}

// Examples are left out where something is missing, and stay where it is required or something went wrong.
func TestExamplesAreLeftOut(t *testing.T) {
	wings := &nf.UnsupportedError{Need: "wings"}
	for _, tt := range []struct {
		require string
		err     error
		want    string
	}{
		{"", nil, ""}, {"", errors.New("fell"), ""}, {"1", wings, ""}, {"", wings, "^Example"},
	} {
		t.Setenv(Require, tt.require)

		SkipExamples(func() error { return tt.err })

		if got := flag.Lookup("test.skip").Value.String(); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.err, got, tt.want)
		}
	}
	if err := flag.Set("test.skip", ""); err != nil {
		t.Fatal(err)
	}
}
