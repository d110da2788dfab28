package observe

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// cpuStats is the body of a message about one CPU.
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
		if unknown, err := addStats(got.statOf(), cpuStats(attrs...), 16); unknown != nil || err != nil {
			t.Fatal(unknown, err)
		}
		if unknown, err := addStats(got.expectStatOf(), cpuStats(attr(1, 0, 0, 0, 1), attr(2, 0, 0, 0, 2), attr(3, 0, 0, 0, 3)), 16); unknown != nil || err != nil {
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

func TestStatsSayWhereTheyAreWrong(t *testing.T) {
	t.Parallel()
	whole := cpuStats(attr(10, 0, 0, 0, 9))
	for name, c := range map[string]struct {
		body []byte
		want string
	}{
		"no header":       {whole[:3], "netfilter message at offset 16: 3 bytes are shorter than its header"},
		"half a header":   {whole[:6], "netlink attribute at offset 20: 2 bytes are shorter than its header"},
		"cut":             {whole[:10], "netlink attribute at offset 20: length 8, 6 bytes are there"},
		"of another size": {cpuStats(attr(10, 9), attr(11, 0, 0, 0, 1)), "statistic of type 10, value at offset 24: 1 bytes, want 4"},
	} {
		var s Stats
		if _, err := addStats(s.statOf(), c.body, 16); err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

// A later kernel counts more: what is known is counted, and the rest is told.
func TestUnknownStatIsTold(t *testing.T) {
	t.Parallel()
	var s Stats
	unknown, err := addStats(s.statOf(), cpuStats(attr(16, 0, 0, 0, 7), attr(10, 0, 0, 0, 9)), 16)
	if err != nil || unknown == nil || unknown.Type != 16 || unknown.Offset != 24 || s.Drop != 9 {
		t.Errorf("got %v, %v, drop %d", unknown, err, s.Drop)
	}
}

func FuzzStats(f *testing.F) {
	f.Add(cpuStats(attr(10, 0, 0, 0, 9), attr(16, 0, 0, 0, 7)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s Stats
		for _, counts := range [][]*uint64{s.statOf(), s.expectStatOf()} {
			if _, err := addStats(counts, b, 16); err != nil && !strings.Contains(err.Error(), "offset") {
				t.Errorf("%x: %v", b, err)
			}
		}
	})
}
