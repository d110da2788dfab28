package scenarios

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Linux, tools/testing/selftests/net/netfilter/conntrack_resize.sh (test_dump_all, check_dump): while a flood of pings makes
// entries, each dump shows every entry that was there before once; afterwards count, dump, the dumps of the protocols and
// procfs agree, and nothing is there twice.
func TestCountDumpsAndProcfsAgree(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{
		Silent: true, NoFrames: true, NoEvents: true, NoPath: true,
		Sysctls: map[string]string{"net.netfilter.nf_conntrack_icmp_timeout": "3600"},
	})
	var made []nf.Entry
	for p := range packet.UDPs(1000, flow(remote4, 10000, host4, 53)) {
		made = append(made, nf.Entry{
			Orig: p.Tuple(), Reply: p.Tuple().Reverse(), Status: nf.Confirmed | nf.SeenReply | nf.Assured, Timeout: time.Hour,
		})
	}
	_, err := x.Env.Table().CreateAll(t.Context(), slices.Values(made))
	ctexp.Require(t, "make entries", err)

	var enough atomic.Bool
	flooded := make(chan error, 1)
	go func() {
		_, err := x.Lab.Inject(t.Context(), func(yield func(packet.Packet) bool) {
			for n := 0; !enough.Load() && yield(ping(n%1000)); n++ { // the table does not grow without end
			}
		})
		flooded <- err
	}()
	for range 2 {
		if diff := ctexp.Diff(lines(made), lines(x.Flows(nf.Filter{Proto: nf.UDP}))); diff != "" {
			t.Errorf("a dump while the table grows (-want +got):\n%s", diff)
		}
	}
	enough.Store(true)
	ctexp.Require(t, "flood", <-flooded)
	count, err := x.Env.Table().Count()
	ctexp.Require(t, "count", err)

	dump := lines(x.Flows())
	want := map[string][]string{"without doubles": dump, "by protocol": dump}
	got := map[string][]string{
		"without doubles": slices.Compact(slices.Clone(dump)),
		"by protocol":     lines(append(x.Flows(nf.Filter{Proto: nf.ICMP}), x.Flows(nf.Filter{Proto: nf.UDP})...)),
	}
	if err := x.Env.Do(func() error { // many a kernel has no such file
		text, err := os.ReadFile("/proc/thread-self/net/nf_conntrack")
		if err != nil {
			return err
		}
		entries, err := nf.ParseEntries(string(text))
		want["procfs"], got["procfs"] = dump, lines(entries)
		return err
	}); !errors.Is(err, fs.ErrNotExist) {
		ctexp.Require(t, "read procfs", err)
	}
	if diff := ctexp.Diff(want, got); diff != "" || count != len(dump) {
		t.Errorf("%d entries in a dump, %d counted (-want +got):\n%s", len(dump), count, diff)
	}
}

// lines prints entries, in order.
func lines(entries []nf.Entry) []string {
	var out []string
	for _, e := range entries {
		out = append(out, e.String())
	}
	slices.Sort(out)
	return out
}
