package observe

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/internal/nfnl"
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
	if d := before.Sub(after); d.Invalid < 1<<63 { // a zero would pass for "nothing was counted"
		t.Errorf("the wrong way round: %v", d)
	}
}

// A count that the kernel does not report is absent, not 0.
func TestStatsLeaveOutWhatTheKernelDoesNotReport(t *testing.T) {
	t.Parallel()
	s := Stats{Found: 1, NoChainTooLong: true}
	const want = "found=1 invalid=0 insert=0 insert_failed=0 drop=0 early_drop=0 error=0 search_restart=0 clash_resolve=0 " +
		"expect_new=0 expect_create=0 expect_delete=0"
	if diff := cmp.Diff(want, s.Sub(Stats{NoChainTooLong: true}).String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// cpuStats returns the body of a message about one CPU.
func cpuStats(attrs ...[]byte) []byte {
	b := []byte{0, 0, 0, 1}
	for _, a := range attrs {
		b = append(b, a...)
	}
	return b
}

func TestStatsOfAllCPUsAreAdded(t *testing.T) {
	t.Parallel()
	var got Stats
	for range 2 {
		var attrs [][]byte
		for typ := byte(1); typ <= 15; typ++ {
			attrs = append(attrs, attr(uint16(typ), 0, 0, 1, typ))
		}
		if _, unknown, err := nfnl.AddStats(got.statOf(), cpuStats(attrs...), 16); unknown != nil || err != nil {
			t.Fatal(unknown, err)
		}
		if _, unknown, err := nfnl.AddStats(got.expectStatOf(), cpuStats(attr(1, 0, 0, 0, 1), attr(2, 0, 0, 0, 2), attr(3, 0, 0, 0, 3)), 16); unknown != nil || err != nil {
			t.Fatal(unknown, err)
		}
	}
	want := Stats{
		Found: 516, Invalid: 520, Insert: 528, InsertFailed: 530, Drop: 532, EarlyDrop: 534, Error: 536, SearchRestart: 538,
		ClashResolve: 540, ChainTooLong: 542, ExpectNew: 2, ExpectCreate: 4, ExpectDelete: 6,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
