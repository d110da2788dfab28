package ctnl_test

import (
	"reflect"
	"testing"

	"github.com/ti-mo/conntrack"
	"github.com/ti-mo/netfilter"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ctnl"
)

func TestFilterLeavesToTheKernelWhatItCanDo(t *testing.T) {
	t.Parallel()
	all := conntrack.NewFilter()
	const fixed = uint32(nf.FixedTimeout)
	for _, c := range []struct {
		name string
		f    nf.Filter
		hide bool
		want conntrack.Filter
	}{
		{"everything", nf.Filter{}, false, all.Family(0)},
		{"everything but the filler", nf.Filter{}, true, all.Status(0).StatusMask(fixed)},
		{"family", nf.Filter{Family: nf.IPv6}, false, all.Family(netfilter.ProtoIPv6)},
		{"mark", nf.Filter{Mark: 0xff, MarkMask: 0xf}, false, all.Mark(0xf).MarkMask(0xf)},
		{"a mark without mask is none", nf.Filter{Mark: 0xff}, false, all},
		{"status", nf.Filter{Status: nf.Assured, StatusMask: nf.Assured | nf.SeenReply}, false,
			all.Status(conntrack.StatusAssured).StatusMask(uint32(nf.Assured | nf.SeenReply))},
		{"status but the filler", nf.Filter{Status: nf.Assured, StatusMask: nf.Assured}, true,
			all.Status(conntrack.StatusAssured).StatusMask(uint32(nf.Assured) | fixed)},
		{"fixed timeout asked for", nf.Filter{Status: nf.FixedTimeout, StatusMask: nf.FixedTimeout}, true,
			all.Status(conntrack.Status(fixed)).StatusMask(fixed)},
		{"zone 0 has no filler", nf.Filter{Zone: nf.InZone(0)}, true, all.Zone(0)},
		{"protocol and tuple are ours", nf.Filter{Proto: nf.TCP, Tuple: web.Orig}, false, all},
	} {
		if got := ctnl.Filter(c.f, c.hide); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}
