package nf_test

import (
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func TestEntryPrintsItselfLikeConntrack(t *testing.T) {
	t.Parallel()
	syn := inject.SYN(web4).Tuple()
	echo := inject.Echo(web4.Src.Addr(), web4.Dst.Addr(), 7, 1, nil).Tuple()
	for _, tt := range []struct {
		entry nf.Entry
		want  string
	}{
		{
			nf.Entry{Orig: syn, Reply: syn.Reverse(), State: nf.SynSent, Status: nf.Confirmed, ID: 9, Timeout: 120},
			"tcp SYN_SENT src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10000",
		},
		{
			nf.Entry{Orig: echo, Reply: echo.Reverse(), Status: nf.SeenReply | nf.Assured, Mark: 1, Zone: 2, Helper: "ftp", Labels: "01"},
			"icmp src=198.18.0.2 dst=192.0.2.1 type=8 code=0 id=7 src=192.0.2.1 dst=198.18.0.2 type=0 code=0 id=7 [ASSURED] mark=1 zone=2 helper=ftp labels=01",
		},
	} {
		if got := tt.entry.String(); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

func TestFilterSelectsByEachField(t *testing.T) {
	t.Parallel()
	syn := inject.SYN(web4).Tuple()
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
