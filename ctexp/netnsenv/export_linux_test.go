package netnsenv

import (
	"testing"

	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// LoseFiller deletes n entries of the filler from this one on, as a program in the namespace could.
func LoseFiller(t testing.TB, e *Env, from, n int) {
	t.Helper()
	f := newFiller(e.cfg.Room.unreplied)
	f.next = from
	for entry := range f.entries(n) {
		if err := e.table.nfnl.Do(nfnl.AppendDelete(nil, entry)); err != nil {
			t.Fatalf("delete filler: %v", err)
		}
	}
}

// TableCount returns how many entries the kernel counts, with those of the filler.
func TableCount(t testing.TB, e *Env) int {
	t.Helper()
	n, err := e.number(keyCount)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
