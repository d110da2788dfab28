package report

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhatWasSaidAndMeasuredStandSideBySide(t *testing.T) {
	t.Parallel()
	r := Row{Said: []Field{{"speed", "2 Mpps"}, {"raw", "10"}, {"mangle", "10"}}, Got: []Field{{"raw", "10"}, {"mangle", "7"}, {"entries", "7"}}}
	want := []pair{{"raw", "10", "10", false}, {"mangle", "10", "7", true}, {"entries", "", "7", false}, {"speed", "2 Mpps", "", false}}
	if diff := cmp.Diff(want, r.pairs()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestVerdictsAreCountedInTheirOrder(t *testing.T) {
	t.Parallel()
	p := Page{Rows: []Row{{Verdict: "odd"}, {Verdict: "refuted"}, {Verdict: "confirmed"}, {Verdict: "confirmed", Error: "no"}, {}, {Verdict: "odd"}, {Verdict: "confirmed"}}}
	want := []share{{"confirmed", 2}, {"refuted", 1}, {noAnswer, 2}, {"odd", 2}}
	if diff := cmp.Diff(want, p.shares()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
