package ctexp

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// Flows of the same tuple in two zones have each a life of their own; a gap in the events is in the life of all.
func TestLifeInAReportIsOfOneZone(t *testing.T) {
	t.Parallel()
	flow := nf.Tuple{Proto: nf.TCP, Src: netip.MustParseAddrPort("198.18.0.2:10000"), Dst: netip.MustParseAddrPort("192.0.2.1:80")}
	entry := func(zone uint16, s nf.TCPState) nf.Entry {
		return nf.Entry{Orig: flow, Reply: flow.Reverse(), Zone: zone, State: s}
	}
	on := func(k observe.EventKind, e nf.Entry) observe.Event { return observe.Event{Kind: k, Entry: e} }
	c := collector{snapshot: snapshot{record: observe.Record{Events: []observe.Event{
		on(observe.EventNew, entry(1, nf.SynSent)), on(observe.EventNew, entry(2, nf.SynSent)), on(observe.EventUpdate, entry(2, nf.SynRecv)),
		{Kind: observe.EventLost}, on(observe.EventNew, entry(3, nf.Established)),
	}}}}
	life := c.lives()
	var got [][]string
	for zone := range uint16(5) {
		got = append(got, life(entry(zone, nf.SynSent)))
	}
	want := [][]string{
		{"LOST"}, {"NEW SYN_SENT", "LOST"}, {"NEW SYN_SENT", "UPDATE SYN_RECV", "LOST"}, {"LOST", "NEW ESTABLISHED"}, {"LOST"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the lives in zones 0 to 4 (-want +got):\n%s", diff)
	}
}

// A helper whose second module is not loaded leaves what it reads as it is where NAT translates. The report says so.
func TestHelperThatDoesNotRewrite(t *testing.T) {
	t.Parallel()
	const part = "nf_nat_ftp 20480 0 - Live 0x0\n"
	const helper = "nf_conntrack_ftp 24576 1 nf_nat_ftp, Live 0x0\n"
	translated := nf.Entry{Helper: "ftp", Status: nf.SrcNAT | nf.Confirmed}
	plain := nf.Entry{Helper: "ftp", Status: nf.Confirmed}
	want := []string{"the helper ftp does not rewrite what NAT translates: nf_nat_ftp is not loaded (sudo modprobe nf_nat_ftp)"}
	for name, c := range map[string]struct {
		flows   []nf.Entry
		modules string
		want    []string
	}{
		"missing":       {[]nf.Entry{translated, translated}, helper, want},
		"loaded":        {[]nf.Entry{translated}, helper + part, nil},
		"built in":      {[]nf.Entry{translated}, "", nil},
		"without NAT":   {[]nf.Entry{plain}, helper, nil},
		"no helper":     {[]nf.Entry{{Status: nf.SrcNAT}}, helper, nil},
		"one module":    {[]nf.Entry{{Helper: "sane", Status: nf.SrcNAT}}, "nf_conntrack_sane 1 0 - Live 0x0\n", nil},
		"of a program":  {[]nf.Entry{{Helper: "mine", Status: nf.SrcNAT}}, helper, nil},
		"another's end": {[]nf.Entry{translated}, "x" + helper, nil},
	} {
		if diff := cmp.Diff(c.want, unwritten(c.flows, func() string { return c.modules })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
