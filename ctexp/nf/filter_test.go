package nf_test

import (
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func TestFilterSelectsByEachField(t *testing.T) {
	t.Parallel()
	syn := web4.Tuple(nf.TCP)
	e := nf.Entry{Orig: syn, Reply: syn.Reverse(), Status: nf.Confirmed | nf.Assured, Mark: 0x15, Zone: 3}
	for _, tt := range []struct {
		filter nf.Filter
		want   bool
	}{
		{nf.Filter{}, true},
		{nf.Filter{Family: nf.IPv4}, true},
		{nf.Filter{Family: nf.IPv6}, false},
		{nf.Filter{Mark: 5, MarkMask: 0xf}, true},
		{nf.Filter{Mark: 5, MarkMask: ^uint32(0)}, false},
		{nf.Filter{Status: nf.Assured, StatusMask: nf.Assured}, true},
		{nf.Filter{StatusMask: nf.Assured}, false},
		{nf.Filter{Zone: nf.InZone(3)}, true},
		{nf.Filter{Zone: nf.InZone(0)}, false},
		{nf.Filter{Proto: nf.TCP}, true},
		{nf.Filter{Proto: nf.UDP}, false},
		{nf.Filter{Tuple: syn}, true},
		{nf.Filter{Tuple: syn.Reverse()}, true},
		{nf.Filter{Tuple: inject.SYN(web4.Nth(1)).Tuple()}, false},
	} {
		if got := tt.filter.Match(e); got != tt.want {
			t.Errorf("%+v: %v", tt.filter, got)
		}
	}
}
