package scenarios

import (
	"errors"
	"io/fs"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Linux, tools/testing/selftests/net/netfilter/conntrack_resize.sh (check_sysctl_immutable): a namespace other than the first
// cannot change the size of the hash and the limit of expectations, and does not have the limit's old name. The limit itself
// is the host's, and read-only, up to 6.18 at least; where it is the namespace's own it is obeyed.
func TestLimitsOfTheHostAreOutOfReach(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{})
	const limit, hash, expectations = "net.netfilter.nf_conntrack_max", "net.netfilter.nf_conntrack_buckets", "net.netfilter.nf_conntrack_expect_max"
	const oldName = "net.nf_conntrack_max"

	got := map[string]string{}
	for _, name := range []string{limit, hash, expectations, oldName} {
		got[name] = raise(t, x, name)
	}

	want := map[string]string{limit: "read-only", hash: "read-only", expectations: "read-only", oldName: "not there"}
	if got[limit] == "written" { // a kernel with a limit of each namespace's own
		want[limit] = "written"
		ctexp.Require(t, "lower the limit", x.Env.SetSysctl(limit, "1"))
		ctexp.Require(t, "the first entry", makeEntry(x, 1))
		got["the second entry"], want["the second entry"] = "made", "refused"
		if errors.Is(makeEntry(x, 2), unix.ENOMEM) {
			got["the second entry"] = "refused"
		}
	}
	if diff := ctexp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// raise writes a sysctl that is one higher and says what became of it.
func raise(t *testing.T, x *ctexp.Experiment, name string) string {
	before, err := x.Env.Sysctl(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "not there"
	}
	ctexp.Require(t, "read", err)
	n, err := strconv.Atoi(before)
	ctexp.Require(t, "read", err)
	werr := x.Env.SetSysctl(name, strconv.Itoa(n+1))
	after, err := x.Env.Sysctl(name)
	ctexp.Require(t, "read", err)
	switch {
	case werr == nil && after != before:
		return "written"
	case errors.Is(werr, fs.ErrPermission) && after == before:
		return "read-only"
	}
	return "from " + before + " to " + after + ": " + werr.Error()
}

func makeEntry(x *ctexp.Experiment, port uint16) error {
	orig := packet.SYN(flow(remote4, port, host4, 53)).Tuple()
	return x.Env.Table().Create(nf.Entry{Orig: orig, Reply: orig.Reverse(), State: nf.Established, Timeout: time.Hour})
}
