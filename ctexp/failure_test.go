package ctexp_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/redtest"
)

var missing = &nf.UnsupportedError{Need: "wings", Hint: "grow some", Err: errors.New("no feathers")}

// A skip states need, hint and cause. CTEXP_REQUIRE=1 makes it a failure unless CTEXP_LACKS lists the need.
func TestWhatCannotBeDoneHereSkipsOrFails(t *testing.T) { // not parallel: it sets the environment
	for _, tt := range []struct {
		name, require, lacks string
		err                  error
		skips                bool
		want                 []string
	}{
		{"missing", "", "", missing, true, []string{"fly", "needs wings", "no feathers", "grow some"}},
		{"missing, all required", "1", "", missing, false, []string{"needs wings", "CTEXP_REQUIRE", `does not list "wings"`}},
		{"missing, as listed", "1", "sails, wings", missing, true, []string{"needs wings"}},
		{"missing, others listed", "1", "sails", missing, false, []string{`does not list "wings"`}},
		{"wrong", "", "wings", errors.New("crashed"), false, []string{"fly: crashed"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("CTEXP_REQUIRE", tt.require)
			t.Setenv("CTEXP_LACKS", tt.lacks)
			fake := &redtest.TB{}
			log := fake.Run(func(f *redtest.TB) { ctexp.Require(f, "fly", tt.err) })
			if fake.Skipped() != tt.skips || fake.Failed() == tt.skips {
				t.Errorf("skipped %v, failed %v; want skipped %v\n%s", fake.Skipped(), fake.Failed(), tt.skips, log)
			}
			for _, w := range tt.want {
				if !strings.Contains(log, w) {
					t.Errorf("got %q, want it to contain %q", log, w)
				}
			}
		})
	}
}

func TestNothingMissingDoesNothing(t *testing.T) {
	t.Parallel()
	fake := &redtest.TB{}
	if log := fake.Run(func(f *redtest.TB) { ctexp.Require(f, "fly", nil) }); log != "" || fake.Failed() || fake.Skipped() {
		t.Errorf("failed %v, skipped %v: %s", fake.Failed(), fake.Skipped(), log)
	}
}

// A need that is listed as missing but is present would hide a later skip.
func TestListedNeedThatIsPresentFails(t *testing.T) { // not parallel: it sets the environment
	ctexp.New(t, netnsenv.Config{}) // skips where there are no user namespaces
	t.Setenv("CTEXP_LACKS", "user namespaces")
	fake := &redtest.TB{}
	log := fake.Run(func(f *redtest.TB) { ctexp.New(f, netnsenv.Config{Links: veth}) })
	if !fake.Failed() || !strings.Contains(log, `lists "user namespaces", which is present`) {
		t.Errorf("failed %v: %s", fake.Failed(), log)
	}
}

func TestWrongConfigFailsTheTest(t *testing.T) {
	t.Parallel()
	fake := &redtest.TB{}
	log := fake.Run(func(f *redtest.TB) { ctexp.New(f, netnsenv.Config{Probes: []nf.Probe{nf.RawOutput, nf.RawOutput}}) })
	if !fake.Failed() || !strings.Contains(log, `ctexp.New: netnsenv: probe "raw/output": the name is taken`) {
		t.Errorf("failed %v: %s", fake.Failed(), log)
	}
}
