package main

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const sample = "../../testdata/sample"

func TestNumbersAreRangesOfTheSample(t *testing.T) {
	t.Parallel()
	for list, want := range map[string][]int{"": {1, 2, 3, 4}, "2": {2}, "1,3-9": {1, 3, 4}} {
		got, err := numbers(list, 4)
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(got))); diff != "" || err != nil {
			t.Errorf("%q (-want +got):\n%s%v", list, diff, err)
		}
	}
	for _, list := range []string{"x", "1-", "-3"} {
		if _, err := numbers(list, 4); err == nil {
			t.Errorf("%q is no error", list)
		}
	}
}

func TestListPrintsTheSample(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer

	err := run(t.Context(), &out, []string{"-list", "-n", "100", "-only", "6", sample})

	want := "  6  internal/mutate/testdata/sample/sample.go:24  Take: swallowed: return 0, err → return 0, nil\n"
	if diff := cmp.Diff(want, out.String()); diff != "" || err != nil {
		t.Errorf("printed (-want +got):\n%s%v", diff, err)
	}
}

func TestTooFewKilledIsAnError(t *testing.T) {
	t.Parallel()
	for least, want := range map[string]string{"50": "", "51": "fewer than 51 % were killed"} {
		var out bytes.Buffer

		err := run(t.Context(), &out, []string{"-n", "100", "-only", "4,6", "-min", least, sample}) // 4 survives
		if err == nil != (want == "") || err != nil && err.Error() != want {
			t.Errorf("-min %s: error %v, want %q", least, err, want)
		}
		if !strings.HasSuffix(out.String(), "seed 1: 1 of 2 mutants killed\n") {
			t.Errorf("-min %s printed %q", least, out.String())
		}
	}
}
