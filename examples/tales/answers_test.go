package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Of the rows with a full table the kernel's log comes first, the others keep their order, and each is asked once.
func TestTheLogIsAskedFirst(t *testing.T) {
	t.Parallel()
	all := []row{{id: "a"}, {id: "b", full: true}, {id: "c"}, {id: kernelLog, full: true}, {id: "d", full: true}}
	if diff := cmp.Diff([][]int{{3, 1, 4}, {0, 2}}, [][]int{fullOnes(all), otherOnes(all)}); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

// Which rows fill a table, and overflow it, decides about the order: all that may drop for want of an entry must be
// among them.
func TestRowsThatOverflowAreAskedOneByOne(t *testing.T) {
	t.Parallel()
	var got []string
	for _, r := range rows() {
		if r.full {
			got = append(got, r.id)
		}
		if r.early != nil && !r.full {
			t.Errorf("%s: its early part is not in order with the others", r.id)
		}
	}
	want := []string{
		"table-full", "kernel-log", "per-namespace", "loose-ack-full", "strict-ack-full", "udp-eperm", "raw-eperm",
		"syn-flood", "notrack-inbound-only", "flood-filled", "held-unconfirmed", "existing-flows",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows with a full table (-want +got):\n%s", diff)
	}
}
