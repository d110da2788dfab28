package observe

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStatsAreSubtractedAndPrinted(t *testing.T) {
	t.Parallel()
	before := Stats{Invalid: 1, Drop: 5}
	after := Stats{
		Found: 1, Invalid: 3, Insert: 3, InsertFailed: 4, Drop: 5, EarlyDrop: 6, Error: 7, SearchRestart: 8, ClashResolve: 9,
		ChainTooLong: 10, ExpectNew: 11, ExpectCreate: 12, ExpectDelete: 13,
	}
	d := after.Sub(before)
	const want = "found=1 invalid=2 insert=3 insert_failed=4 drop=0 early_drop=6 error=7 search_restart=8 clash_resolve=9 " +
		"chaintoolong=10 expect_new=11 expect_create=12 expect_delete=13"
	if diff := cmp.Diff(want, d.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if after.Invalid != 3 || before.Invalid != 1 {
		t.Error("Sub has changed what it was given")
	}
	if d := before.Sub(after); d != (Stats{}) {
		t.Errorf("the wrong way round: %v", d)
	}
}
