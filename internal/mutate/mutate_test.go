package mutate_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/internal/mutate"
)

// load returns the package of testdata.
func load(t *testing.T) []*mutate.Package {
	t.Helper()
	pkgs, err := mutate.Load(t.Context(), ".", "./testdata/sample")
	if err != nil {
		t.Fatal(err)
	}
	return pkgs
}

// outcomes are those of all mutants of testdata/sample, in order of place. That an error is swallowed does not go unnoticed,
// but nothing tests a negative number, what is taken, and when exactly Wait ends.
var outcomes = []string{
	"20 Take: negated: n < 0 → !(n < 0): failed TestTakeTakesWhatIsLeft",
	"20 Take: bound: n < 0 → <=: survived ",
	"20 Take: constant: 0 → 0+1: survived ",
	"21 Take: swallowed: return 0, ErrNegative → return 0, nil: unreached ",
	"23 Take: negated: err != nil → !(err != nil): failed TestTakeTakesWhatIsLeft",
	"24 Take: swallowed: return 0, err → return 0, nil: failed TestTakeOfNothingFails",
	"26 Take: negated: n > s.Left || n == 1 && s.Left-n == 1 → !(n > s.Left || n == 1 && s.Left-n == 1): failed TestTakeTakesWhatIsLeft",
	"26 Take: joined: n > s.Left || n == 1 && s.Left-n == 1 → &&: failed TestTakeTakesWhatIsLeft",
	"26 Take: bound: n > s.Left → >=: survived ",
	"26 Take: joined: n == 1 && s.Left-n == 1 → ||: survived ",
	"26 Take: negated: n == 1 → !(n == 1): survived ",
	"26 Take: constant: 1 → 1+1: survived ",
	"26 Take: negated: s.Left-n == 1 → !(s.Left-n == 1): unreached ",
	"26 Take: swapped: s.Left - n → +: unreached ",
	"26 Take: constant: 1 → 1+1: unreached ",
	"27 Take: removed: n = s.Left → nothing: failed TestTakeTakesWhatIsLeft",
	"29 Take: removed: s.Left = s.Left - n → nothing: failed TestTakeTakesWhatIsLeft",
	"29 Take: swapped: s.Left - n → +: failed TestTakeTakesWhatIsLeft",
	"30 Take: removed: s.Taken += n → nothing: survived ",
	"35 empty: negated: s.Left == 0 → !(s.Left == 0): failed TestTakeTakesWhatIsLeft",
	"35 empty: constant: 0 → 0+1: failed TestTakeOfNothingFails",
	"36 empty: swallowed: return ErrEmpty → return nil: failed TestTakeOfNothingFails",
	"43 Wait: bound: n > 0 → >=: hung ",
	"43 Wait: constant: 0 → 0+1: survived ",
	"44 Wait: removed: n-- → nothing: hung ",
	"50 Unused: negated: true → false: unreached ",
}

func TestSampleDependsOnSeedAndNumberAlone(t *testing.T) {
	t.Parallel()
	draw := func(n int, seed uint64) (out []string) {
		for _, m := range mutate.Sample(load(t), n, seed) {
			out = append(out, m.String())
		}
		return out
	}

	first, again, other := draw(10, 1), draw(10, 1), draw(10, 2)

	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("the same seed (-first +again):\n%s", diff)
	}
	if len(first) != 10 || slices.Equal(first, other) {
		t.Errorf("10 mutants of seed 1 and 2:\n%q\n%q", first, other)
	}
}

func TestRunTellsWhatTestsNotice(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	sample := mutate.Sample(load(t), 1000, 1)
	var got []string

	err := new(mutate.Runner).Run(t.Context(), sample, func(r mutate.Result) {
		got = append(got, fmt.Sprintf("%d %s: %s: %s: %s %s", r.Line, r.Func, r.Kind, r.Change, r.Outcome, r.By))
	})

	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(outcomes, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("temporary files after Run: %v, %v", left, err)
	}
}

func TestOtherTestsMayNoticeWhatThePackagesOwnDoNot(t *testing.T) {
	t.Parallel()
	with, err := mutate.Load(t.Context(), ".", "./testdata/user")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	r := mutate.Runner{With: with}

	err = r.Run(t.Context(), mutate.Sample(load(t), 1000, 1)[2:5], func(r mutate.Result) {
		got = append(got, fmt.Sprintf("%d %s: %s %s", r.Line, r.Kind, r.Outcome, r.By))
	})

	want := []string{"20 constant: survived ", "21 swallowed: failed TestNegativeNumbersFail", "23 negated: failed TestTakeTakesWhatIsLeft"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("outcomes (-want +got):\n%s%v", diff, err)
	}
}

// A test that fails or hangs for once, because the machine is busy, kills nothing. The mutant is one of Wait that nothing
// notices.
func TestWhatABusyMachineDoesKillsNothing(t *testing.T) {
	sample := mutate.Sample(load(t), 1000, 1)
	for name, c := range map[string]struct{ fails, hangs string }{
		"it fails once":                      {fails: "2"},
		"it takes long once":                 {hangs: "2"},
		"it takes long, also without mutant": {hangs: "23"},
	} {
		count(t, c.fails, c.hangs)
		var got []string

		err := new(mutate.Runner).Run(t.Context(), sample[23:24], func(r mutate.Result) {
			got = append(got, fmt.Sprintf("%d %s: %s", r.Line, r.Kind, r.Outcome))
		})

		if diff := cmp.Diff([]string{"43 constant: survived"}, got); diff != "" || err != nil {
			t.Errorf("%s: outcomes (-want +got):\n%s%v", name, diff, err)
		}
	}
}

// count has TestWaitEnds of testdata fail and hang in some of its executions, which are digits from 1 on.
func count(t *testing.T, fails, hangs string) {
	t.Helper()
	executions := filepath.Join(t.TempDir(), "executions")
	if err := os.WriteFile(executions, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SAMPLE_EXECUTIONS", executions)
	t.Setenv("SAMPLE_FAILS", fails)
	t.Setenv("SAMPLE_HANGS", hangs)
}

func TestRunRefusesTestsThatFailAnyway(t *testing.T) {
	count(t, "1", "")
	r := mutate.Runner{Log: io.Discard}

	err := r.Run(t.Context(), mutate.Sample(load(t), 1, 1), func(r mutate.Result) { t.Errorf("a result: %v", r) })

	if err == nil || !strings.Contains(err.Error(), "TestWaitEnds without a mutant: failed") {
		t.Errorf("error %v, want one that names TestWaitEnds", err)
	}
}

func TestLoadNamesWhatDoesNotCompile(t *testing.T) {
	t.Parallel()
	_, err := mutate.Load(t.Context(), ".", "./testdata/absent")
	if err == nil || !strings.Contains(err.Error(), "testdata/absent") {
		t.Errorf("error %v, want one that names the folder", err)
	}
}
