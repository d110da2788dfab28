package nf_test

import (
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func TestEntryPrintsItselfLikeConntrack(t *testing.T) {
	t.Parallel()
	syn := web4.Tuple(nf.TCP)
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
