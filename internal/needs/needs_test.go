package needs

import (
	"errors"
	"fmt"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// fake is a test that tells how it was ended.
type fake struct{ said string }

func (*fake) Helper()                             {}
func (f *fake) Fatalf(format string, args ...any) { f.said = "fails: " + fmt.Sprintf(format, args...) }
func (f *fake) Skipf(format string, args ...any)  { f.said = "skips: " + fmt.Sprintf(format, args...) }

// What is lacking skips a test, or fails it where that need must not be lacking; what went wrong always fails it.
func TestALackSkipsOrFails(t *testing.T) {
	wings := fmt.Errorf("fly: %w", &nf.UnsupportedError{Need: "wings", Hint: "grow some"})
	for _, tt := range []struct {
		name, require, lacks string
		err                  error
		want                 string
	}{
		{"nothing is wrong", "1", "", nil, ""},
		{"a lack", "", "", wings, "skips: fly: needs wings (grow some)"},
		{"a lack that is listed", "1", "gills, wings", wings, "skips: fly: needs wings (grow some)"},
		{"a lack that is not", "1", "gills", wings, "fails: fly: needs wings (grow some)\nCTEXP_REQUIRE=1 allows no skip, and CTEXP_LACKS does not list \"wings\""},
		{"a lack without a name", "1", "", errors.ErrUnsupported, "fails: unsupported operation\nCTEXP_REQUIRE=1 allows no skip, and CTEXP_LACKS does not list \"something\""},
		{"a fault", "", "wings", errors.New("fell"), "fails: fell"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(Require, tt.require)
			t.Setenv(Lacks, tt.lacks)
			f := &fake{}

			Check(f, tt.err)

			if f.said != tt.want {
				t.Errorf("got %q, want %q", f.said, tt.want)
			}
		})
	}
}
