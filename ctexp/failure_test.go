package ctexp_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
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
			fake := &fakeTB{}
			log := fake.run(func(f *fakeTB) { ctexp.Require(f, "fly", tt.err) })
			if fake.skipped != tt.skips || fake.failed == tt.skips {
				t.Errorf("skipped %v, failed %v; want skipped %v\n%s", fake.skipped, fake.failed, tt.skips, log)
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
	fake := &fakeTB{}
	if log := fake.run(func(f *fakeTB) { ctexp.Require(f, "fly", nil) }); log != "" || fake.failed || fake.skipped {
		t.Errorf("failed %v, skipped %v: %s", fake.failed, fake.skipped, log)
	}
}

// A need that is listed as missing but is present would hide a later skip.
func TestListedNeedThatIsPresentFails(t *testing.T) { // not parallel: it sets the environment
	ctexp.New(t, netnsenv.Config{}) // skips where there are no user namespaces
	t.Setenv("CTEXP_LACKS", "user namespaces")
	fake := &fakeTB{}
	log := fake.run(func(f *fakeTB) { ctexp.New(f, netnsenv.Config{Links: veth}) })
	if !fake.failed || !strings.Contains(log, `lists "user namespaces", which is present`) {
		t.Errorf("failed %v: %s", fake.failed, log)
	}
}

func TestWrongConfigFailsTheTest(t *testing.T) {
	t.Parallel()
	fake := &fakeTB{}
	log := fake.run(func(f *fakeTB) { ctexp.New(f, netnsenv.Config{Probes: []nf.Probe{nf.RawOutput, nf.RawOutput}}) })
	if !fake.failed || !strings.Contains(log, `ctexp.New: netnsenv: probe "raw/output": the name is taken`) {
		t.Errorf("failed %v: %s", fake.failed, log)
	}
}
