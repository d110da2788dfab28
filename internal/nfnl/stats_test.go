package nfnl_test

import (
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/internal/nfnl"
)

func TestStatsErrorsNameAnOffset(t *testing.T) {
	t.Parallel()
	whole := body(attr(10, u32(9)))
	for name, c := range map[string]struct {
		body []byte
		want string
	}{
		"no header":       {whole[:3], "netfilter message at offset 16: 3 bytes are shorter than its header"},
		"half a header":   {whole[:6], "netlink attribute at offset 20: 2 bytes are shorter than its header"},
		"cut":             {whole[:10], "netlink attribute at offset 20: length 8, 6 bytes are there"},
		"of another size": {body(attr(10, u8(9)), attr(11, u32(1))), "netlink attribute of type 10, value at offset 24: 1 bytes, want 4"},
	} {
		if _, _, err := nfnl.AddStats(make([]*uint64, 16), c.body, 16); err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

// A later kernel may have more statistics. The known ones are added, and the first unknown one is reported.
func TestUnknownStatIsReported(t *testing.T) {
	t.Parallel()
	var drop uint64
	counts := []*uint64{10: &drop, 11: nil}
	told, unknown, err := nfnl.AddStats(counts, body(attr(16, u32(7)), attr(11, u32(1)), attr(10, u32(9))), 16)
	if err != nil || unknown == nil || unknown.Type != 16 || unknown.Offset != 24 || drop != 9 || told != 1<<10|1<<11 {
		t.Errorf("got %v, %v, drop %d, told %#x", unknown, err, drop, told)
	}
}

func FuzzStats(f *testing.F) {
	f.Add(body(attr(10, u32(9)), attr(16, u32(7))))
	f.Fuzz(func(t *testing.T, b []byte) {
		counts := make([]*uint64, 16)
		for i := range counts {
			counts[i] = new(uint64)
		}
		if _, _, err := nfnl.AddStats(counts, b, 16); err != nil && !strings.Contains(err.Error(), "offset") {
			t.Errorf("%x: %v", b, err)
		}
	})
}
