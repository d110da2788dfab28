package main

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
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

// rowOf returns the row of that id.
func rowOf(t *testing.T, id string) row {
	t.Helper()
	for _, r := range rows() {
		if r.id == id {
			return r
		}
	}
	t.Fatalf("no row %q", id)
	return row{}
}

func TestVerdictsFollowFromWhatWasMeasured(t *testing.T) {
	t.Parallel()
	full := func(mangle, entries, dropped int, more ...field) fields {
		return append(fields{
			{"captured", 10}, {"raw", 10}, {"mangle", mangle}, {"entries", entries}, {"dropped", dropped},
		}, more...)
	}
	evicted := func(n int) field { return field{"evicted", n} }
	flood := func(synacks, entries, dropped []int, evicted int, state string) fields {
		return fields{{"synacks", synacks}, {"entries", entries}, {"dropped", dropped}, {"evicted", evicted}, {"state", state}}
	}
	need := &nf.UnsupportedError{Need: "quiet", Hint: "ask again"}
	for _, c := range []struct {
		name, id string
		got      fields
		lack     error
		want     verdict
		why      string
	}{
		{"as expected", "table-full", full(7, 7, 3, evicted(0)), nil, confirmed, ""},
		{"one was evicted", "table-full", full(8, 7, 2, evicted(1)), nil, confirmed, ""},
		{"one was evicted along with another", "table-full", full(8, 6, 2, evicted(2)), nil, confirmed, ""},
		{"one was collected", "table-full", full(7, 6, 3, evicted(0), field{"collected", 1}), nil, confirmed, ""},
		{
			"one more got through", "table-full", full(8, 7, 2, evicted(0)), nil, refuted,
			"mangle is 8, expected 7; a note",
		},
		{
			"one is missing", "table-full", full(7, 6, 3, evicted(0)), nil, refuted,
			"entries is 6, expected 7; a note",
		},
		{
			"the counts do not add up", "table-full", full(8, 7, 3, evicted(1)), nil, refuted,
			"dropped is 3, expected 2; a note",
		},
		{"not measured", "ten-syns", fields{{"captured", 10}, {"entries", 10}, {"raw", 10}}, nil, refuted, "mangle was not measured; a note"},
		{
			"as often as three times", "syn-flood", flood([]int{7, 8, 7}, []int{7, 7, 7}, []int{3, 2, 3}, 1, "SYN_RECV"), nil, confirmed, "",
		},
		{
			"cookies helped", "syn-flood", flood([]int{7, 10, 10}, []int{7, 7, 7}, []int{3, 0, 0}, 0, "SYN_RECV"), nil, refuted,
			"synacks is 7/10/10, expected 7 each; dropped is 3/0/0, expected 3 each; a note",
		},
		{
			"evicted fewer than came", "flood-filled",
			fields{{"mangle", 10}, {"dropped", 0}, {"evicted", 9}, {"assured_mangle", 0}, {"assured_dropped", 10}, {"assured_evicted", 0}},
			nil, refuted, "evicted is 9, expected at least 10; a note",
		},
		{
			"evicted fewer, within the odds of many buckets", "flood-filled",
			fields{{"mangle", 9}, {"dropped", 1}, {"evicted", 9}, {"may_be_dropped", 8}, {"assured_mangle", 0}, {"assured_dropped", 10}, {"assured_evicted", 0}},
			nil, refined, "",
		},
		{"a part is not to be had", "kernel-log", fields{{"dropped", 3}, {"evicted", 0}}, need, unsupported, "needs quiet (ask again); a note"},
		{"nor is the rest right", "kernel-log", fields{{"dropped", 2}, {"evicted", 0}}, need, refuted, "dropped is 2, expected 3; a note"},
		{"nothing is to be had", "held-unconfirmed", nil, errors.Join(errors.New("open"), need), unsupported, "needs quiet (ask again); a note"},
		{"policies of the one kind", "policy-counters", fields{{"empty_chain", 10}, {"with_rule", 10}}, nil, changed, "a note"},
		{"and of the other", "policy-counters", fields{{"empty_chain", 0}, {"with_rule", 0}, {"policy_set", 10}}, nil, changed, "a note"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			verdict, why := rowOf(t, c.id).judge(size{10, 7}, c.got, []string{"a note"}, c.lack)
			if c.why == "" {
				why = ""
			}
			if diff := cmp.Diff([]string{string(c.want), c.why}, []string{string(verdict), why}); diff != "" {
				t.Errorf("verdict and why (-want +got):\n%s", diff)
			}
		})
	}
}
