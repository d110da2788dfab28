package nf_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func TestEntryInBrief(t *testing.T) {
	t.Parallel()
	of := func(p nf.Proto, s nf.TCPState, other string, st nf.Status) string {
		return nf.Entry{Orig: nf.Tuple{Proto: p}, State: s, OtherState: other, Status: st}.Brief()
	}
	got := []string{
		of(nf.TCP, nf.SynSent, "", nf.Confirmed),
		of(nf.TCP, nf.SynRecv, "", nf.SeenReply|nf.Confirmed),
		of(nf.TCP, nf.Established, "", nf.SeenReply|nf.Assured|nf.Confirmed),
		of(nf.UDP, 0, "", 0),
		of(nf.ICMP, 0, "", nf.SeenReply),
		of(nf.SCTP, 0, "COOKIE_WAIT", 0),
	}
	want := []string{"SYN_SENT [UNREPLIED]", "SYN_RECV", "ESTABLISHED [ASSURED]", "udp [UNREPLIED]", "icmp", "COOKIE_WAIT [UNREPLIED]"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
