package nfnl_test

import (
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// dump returns the marks of the entries in a list, in order.
func dump(t testing.TB, c *nfnl.Conn, d nfnl.Dump) []uint32 {
	t.Helper()
	var marks []uint32
	err := c.Dump(d, func(body []byte, at int) error {
		e, err := nfnl.DecodeEntry(body, at)
		marks = append(marks, e.Mark)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(marks)
	return marks
}

// A dump also returns entries that only nf.Filter.Match excludes.
func TestDumpAppliesTheFilter(t *testing.T) {
	t.Parallel()
	env, c := open(t)
	for i := range uint32(5) {
		e := ping
		e.Orig.ICMP.ID, e.Reply.ICMP.ID, e.Mark = uint16(i), uint16(i), i
		if i == 4 {
			e.Status |= nf.FixedTimeout
		}
		if err := env.Table().Create(e); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		f    nf.Filter
		hide bool
		want []uint32
	}{
		"all":                  {nf.Filter{}, false, []uint32{0, 1, 2, 3, 4}},
		"all but the filler":   {nf.Filter{}, true, []uint32{0, 1, 2, 3}},
		"of another family":    {nf.Filter{Family: nf.IPv4}, false, nil},
		"by mark":              {nf.Filter{Mark: 0xff, MarkMask: 1}, false, []uint32{1, 3}},
		"fixed, asked for":     {nf.Filter{Status: nf.FixedTimeout, StatusMask: nf.FixedTimeout}, true, []uint32{4}},
		"of zone 0":            {nf.Filter{Zone: nf.InZone(0)}, true, []uint32{0, 1, 2, 3, 4}},
		"protocol is not ours": {nf.Filter{Proto: nf.TCP}, false, []uint32{0, 1, 2, 3, 4}},
	} {
		if !kernel.StatusFilters.Here() && (tt.hide || tt.f.StatusMask != 0) {
			tt.want = []uint32{0, 1, 2, 3, 4}
		}
		if diff := cmp.Diff(tt.want, dump(t, c, nfnl.DumpEntries(tt.f, tt.hide))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// After an error in the middle of a dump, the Conn can be used again.
func TestDumpIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	env, c := open(t)
	for i := range uint16(2000) { // more than one datagram
		e := ping
		e.Orig.ICMP.ID, e.Reply.ICMP.ID = i, i
		if err := env.Table().Create(e); err != nil {
			t.Fatal(err)
		}
	}
	enough := errors.New("enough")
	calls := 0
	err := c.Dump(nfnl.DumpEntries(nf.Filter{}, false), func([]byte, int) error { calls++; return enough })
	if calls != 1 || !errors.Is(err, enough) {
		t.Errorf("%d calls, then %v", calls, err)
	}
	if n := len(dump(t, c, nfnl.DumpEntries(nf.Filter{}, false))); n != 2000 {
		t.Errorf("then %d entries", n)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Dump(nfnl.DumpStats, nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
