package nf_test

import (
	"fmt"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func TestPartsOfAnEntryPrintThemselves(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		value fmt.Stringer
		want  string
	}{
		{nf.WindowScale | nf.SACKPerm | nf.SimultaneousOpen, "WINDOW_SCALE,SACK_PERM,SIMULTANEOUS_OPEN"},
		{nf.TCPTrackFlags(0), ""},
		{nf.SeqShift{Position: 1000, Before: -2, After: 4}, "+4 from 1000 on, -2 before"},
		{nf.Direction(0), "both"}, {nf.Original, "original"}, {nf.Reply, "reply"}, {nf.Direction(3), "direction(3)"},
	} {
		if got := tt.value.String(); got != tt.want {
			t.Errorf("%#v: %q, want %q", tt.value, got, tt.want)
		}
	}
	if f := nf.CloseInit | nf.BeLiberal; !f.Has(nf.CloseInit) || f.Has(nf.CloseInit|nf.MaxACKSet) {
		t.Errorf("%v", f)
	}
}
