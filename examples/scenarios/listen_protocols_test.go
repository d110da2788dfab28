package scenarios

import (
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// ti-mo/conntrack, event_integration_test.go, TestConnListen: who listens hears NEW, UPDATE and DESTROY of entries that were
// made, changed and deleted over netlink, for TCP, UDP and SCTP, IPv4 and IPv6.
func TestListenerHearsEntriesMadeOverNetlink(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, host())
	tuples := map[string]nf.Tuple{}
	for _, p := range []nf.Proto{nf.TCP, nf.UDP, nf.SCTP} {
		f, g := flow(remote4, 1234, host4, 80), flow(remote6, 1234, host6, 80)
		tuples[p.String()+" ipv4"] = nf.Tuple{Proto: p, Src: f.Src, Dst: f.Dst}
		tuples[p.String()+" ipv6"] = nf.Tuple{Proto: p, Src: g.Src, Dst: g.Dst}
	}

	got := map[string][]string{}
	for name, tuple := range tuples {
		e := nf.Entry{Orig: tuple, Reply: tuple.Reverse(), Timeout: 120 * time.Second}
		if tuple.Proto == nf.TCP {
			e.State = nf.SynSent
		}
		ctexp.Require(t, "create", x.Env.Table().Create(e))
		ctexp.Require(t, "update", x.Env.Table().Update(nf.Entry{Orig: e.Orig, Reply: e.Reply, Timeout: 240 * time.Second}))
		ctexp.Require(t, "delete", x.Env.Table().Delete(e))
		got[name] = x.Life(tuple)
	}

	tcp, others := []string{"NEW SYN_SENT", "UPDATE SYN_SENT", "DESTROY"}, []string{"NEW", "UPDATE", "DESTROY"}
	want := map[string][]string{
		"tcp ipv4": tcp, "udp ipv4": others, "sctp ipv4": others,
		"tcp ipv6": tcp, "udp ipv6": others, "sctp ipv6": others,
	}
	if diff := ctexp.Diff(want, got); diff != "" {
		t.Errorf("entries made, changed and deleted (-want +got):\n%s", diff)
	}
}
