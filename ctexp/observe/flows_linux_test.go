package observe_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/needs"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// entry returns an entry of a flow for Table.Create.
func entry(f packet.Flow, change func(*nf.Entry)) nf.Entry {
	t := f.Tuple(nf.TCP)
	e := nf.Entry{Orig: t, Reply: t.Reverse(), Status: nf.Confirmed, State: nf.Established, Timeout: 100 * time.Second}
	change(&e)
	return e
}

func TestFlowsAreFiltered(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	for _, e := range []nf.Entry{
		entry(web.Nth(3), func(e *nf.Entry) { e.Mark = 0x12 }),
		entry(web.Nth(2), func(e *nf.Entry) { e.Zone = 7 }),
		entry(web.Nth(1), func(e *nf.Entry) { e.Status |= nf.SeenReply | nf.Assured }),
		entry(web6, func(*nf.Entry) {}),
	} {
		if err := x.env.Table().Create(e); err != nil {
			t.Fatal(err)
		}
	}
	x.send(web.UDP(nil), packet.Echo(web.Src.Addr(), web.Dst.Addr(), 7, 1, nil))

	const (
		icmp   = "icmp src=198.18.0.2 dst=192.0.2.1 type=8 code=0 id=7 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 type=0 code=0 id=7"
		marked = "tcp ESTABLISHED src=198.18.0.2 dst=192.0.2.1 sport=10003 dport=80 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10003 mark=18"
		zoned  = "tcp ESTABLISHED src=198.18.0.2 dst=192.0.2.1 sport=10002 dport=80 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10002 zone=7"
		asured = "tcp ESTABLISHED src=198.18.0.2 dst=192.0.2.1 sport=10001 dport=80 src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10001 [ASSURED]"
		v6     = "tcp ESTABLISHED src=2001:db8:f::2 dst=2001:db8::1 sport=10000 dport=80 [UNREPLIED] src=2001:db8::1 dst=2001:db8:f::2 sport=80 dport=10000"
		udp    = "udp src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10000"
	)
	for _, c := range []struct {
		name   string
		filter nf.Filter
		want   []string
	}{
		{"all", nf.Filter{}, []string{icmp, asured, zoned, marked, v6, udp}},
		{"IPv4", nf.Filter{Family: nf.IPv4}, []string{icmp, asured, zoned, marked, udp}},
		{"IPv6", nf.Filter{Family: nf.IPv6}, []string{v6}},
		{"mark", nf.Filter{Mark: 0x10, MarkMask: 0xf0}, []string{marked}},
		{"no mark", nf.Filter{MarkMask: 0xff}, []string{icmp, asured, zoned, v6, udp}},
		{"zone 7", nf.Filter{Zone: nf.InZone(7)}, []string{zoned}},
		{"zone 0", nf.Filter{Zone: nf.InZone(0)}, []string{icmp, asured, marked, v6, udp}},
		{"status", nf.Filter{Status: nf.Assured, StatusMask: nf.Assured}, []string{asured}},
		{"not assured", nf.Filter{StatusMask: nf.Assured, Proto: nf.TCP}, []string{zoned, marked, v6}},
		{"protocol", nf.Filter{Proto: nf.UDP}, []string{udp}},
		{"tuple", nf.Filter{Tuple: packet.SYN(web.Nth(3)).Tuple().Reverse()}, []string{marked}},
		{"none", nf.Filter{Mark: 1, MarkMask: 1}, nil},
	} {
		if diff := cmp.Diff(c.want, x.flows(c.filter)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// The filler never appears, whatever the filter. The entries are assured, because the garbage collector may take
// others.
func TestFlowsHideTheFiller(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, Room: netnsenv.Free(5)})
	for _, e := range []nf.Entry{
		entry(web, func(e *nf.Entry) { e.Status |= nf.SeenReply | nf.Assured | nf.FixedTimeout }),
		entry(web.Nth(1), func(e *nf.Entry) { e.Status |= nf.SeenReply | nf.Assured }),
	} {
		if err := x.env.Table().Create(e); err != nil {
			t.Fatal(err)
		}
	}
	const (
		fixed = "tcp ESTABLISHED src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80 src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10000 [ASSURED]"
		plain = "tcp ESTABLISHED src=198.18.0.2 dst=192.0.2.1 sport=10001 dport=80 src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10001 [ASSURED]"
	)
	for _, c := range []struct {
		name   string
		filter nf.Filter
		want   []string
	}{
		{"all", nf.Filter{}, []string{plain}},
		{"zone 0", nf.Filter{Zone: nf.InZone(0)}, []string{fixed, plain}},
		{"confirmed", nf.Filter{Status: nf.Confirmed, StatusMask: nf.Confirmed}, []string{plain}},
		{"the filler's zone", nf.Filter{Zone: nf.InZone(65535)}, nil},
	} {
		if diff := cmp.Diff(c.want, x.flows(c.filter)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	if got := x.tally().Entries; got != 2 {
		t.Errorf("entries: got %d, want 2", got)
	}
}

// Breaking out is not an error, and a context that is cancelled meanwhile ends the iteration.
func TestFlowsEndEarly(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	x.sendSYNs(10, web)
	for range x.o.Flows(t.Context(), nf.Filter{}) {
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	var last error
	for _, err := range x.o.Flows(ctx, nf.Filter{}) {
		n++
		last = err
		cancel()
	}
	if n != 2 || !errors.Is(last, context.Canceled) {
		t.Errorf("%d steps, then %v", n, last)
	}
}

func BenchmarkFlows(b *testing.B) {
	x := open(b, netnsenv.Config{Silent: true})
	x.sendSYNs(10, web)
	for b.Loop() {
		if err := lastError(x.o.Flows(b.Context(), nf.Filter{})); err != nil {
			b.Fatal(err)
		}
	}
}

func TestGetFindsAnEntryByEitherTuple(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	x.send(packet.SYN(web))
	const want = "tcp SYN_SENT src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10000"
	tuple := web.Tuple(nf.TCP)
	for _, tuple := range []nf.Tuple{tuple, tuple.Reverse()} {
		e, err := x.o.Get(t.Context(), tuple, 0)
		if err != nil || e.String() != want || e.Timeout < time.Minute || e.ID == 0 || !e.Status.Has(nf.Confirmed) {
			t.Errorf("got %v, timeout %v, id %d, %v", e, e.Timeout, e.ID, err)
		}
	}
	for name, err := range map[string]error{
		"another tuple":     getError(x, packet.SYN(web.Nth(1)).Tuple(), 0),
		"another zone":      getError(x, tuple, 1),
		"the filler's zone": getError(x, tuple, 65535),
	} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func getError(x lab, t nf.Tuple, zone uint16) error {
	_, err := x.o.Get(x.Context(), t, zone)
	return err
}

// An entry with a zone in one direction is found in this zone by the tuple of that direction.
func TestGetInAZoneOfOneDirection(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	orig := web.Tuple(nf.TCP)
	if err := x.env.Table().Create(entry(web, func(e *nf.Entry) { e.Zone, e.ZoneDir = 5, nf.Original })); err != nil {
		t.Fatal(err)
	}
	for _, in := range []struct {
		tuple nf.Tuple
		zone  uint16
	}{{orig, 5}, {orig.Reverse(), 0}} {
		e, err := x.o.Get(t.Context(), in.tuple, in.zone)
		if err != nil || e.Zone != 5 || e.ZoneDir != nf.Original {
			t.Errorf("%v in zone %d: %v, %v", in.tuple, in.zone, e, err)
		}
	}
	if err := getError(x, orig, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the original tuple in zone 0: %v", err)
	}
}

// With and without a filler, whether it can be evicted or not.
func TestCountLeavesOutTheFiller(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]netnsenv.Config{
		"no filler": {Silent: true},
		"filler":    {Silent: true, Room: netnsenv.Free(100)},
	} {
		x := open(t, cfg)
		x.sendSYNs(7, web)
		if n, err := x.o.Count(t.Context()); n != 7 || err != nil {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
}

func TestMethodsAfterCloseReturnErrClosed(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	if err := x.o.Close(); err != nil {
		t.Fatal(err)
	}
	_, statsErr := x.o.Stats(t.Context())
	_, countErr := x.o.Count(t.Context())
	for name, err := range map[string]error{
		"Get": getError(x, web.Tuple(nf.TCP), 0), "Stats": statsErr, "Count": countErr,
		"Expectations": lastError(x.o.Expectations(t.Context())), "Dying": lastError(x.o.Dying(t.Context())),
		"Unconfirmed": lastError(x.o.Unconfirmed(t.Context())), "Flows": lastError(x.o.Flows(t.Context(), nf.Filter{})),
	} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := open(t, netnsenv.Config{Silent: true}).o.Count(done); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that is done: %v", err)
	}
}

func BenchmarkGet(b *testing.B) {
	x := open(b, netnsenv.Config{Silent: true})
	x.send(packet.SYN(web))
	tuple := web.Tuple(nf.TCP)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := x.o.Get(b.Context(), tuple, 0); err != nil {
			b.Fatal(err)
		}
	}
}

const expecting = `
table ip u {
	ct expectation data { protocol udp; dport 5000; timeout 1m; size 12; l3proto ip; }
	chain in {
		type filter hook input priority 0;
		tcp dport 80 ct expectation set "data"
	}
}`

// withoutHelper returns an expectation without the helper that Linux 7.3 gives those of nftables.
func withoutHelper(e nf.Expectation) string {
	return strings.TrimSuffix(e.String(), " helper=nft_ct_expect")
}

// A rule creates an expectation. The expected flow comes from the server, is RELATED, and uses the expectation up.
func TestExpectationsAppearAndAreUsedUp(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{netnsenv.NFT(expecting)}})
	other := packet.Flow{Src: addrPort("198.18.0.3:10000"), Dst: web.Dst}
	x.send(packet.SYN(other), packet.SYN(web))

	const (
		first  = "udp src=192.0.2.1 dst=198.18.0.2 sport=0 dport=5000 master src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80"
		second = "udp src=192.0.2.1 dst=198.18.0.3 sport=0 dport=5000 master src=198.18.0.3 dst=192.0.2.1 sport=10000 dport=80"
	)
	var got []string
	for _, e := range x.expectations() {
		if e.ID == 0 || e.Timeout < 30*time.Second { // 6.18 makes 1,000 minutes of one
			t.Errorf("id %d, timeout %v", e.ID, e.Timeout)
		}
		got = append(got, withoutHelper(e))
	}
	if diff := cmp.Diff([]string{first, second}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	conn, err := x.env.Dial(t.Context(), "udp", "198.18.0.2:5000")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("data")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(observe.Stats{ExpectCreate: 2, ExpectNew: 1, ExpectDelete: 1, NoChainTooLong: !kernel.ChainTooLong.Here()}, x.stats()); diff != "" {
		t.Errorf("when one has come (-want +got):\n%s", diff)
	}
	if left := x.expectations(); len(left) != 1 || withoutHelper(left[0]) != second {
		t.Errorf("left: %v, want %s", left, second)
	}
	e, err := x.o.Get(t.Context(), web.Tuple(nf.TCP), 0)
	if err != nil {
		t.Fatal(err)
	}
	related := x.entries(nf.Filter{Status: nf.Expected, StatusMask: nf.Expected})
	if len(related) != 1 || related[0].Master != e.Orig {
		t.Errorf("EXPECTED entries %v, want one with the master %v", related, e.Orig)
	}
}

func (l lab) entries(f nf.Filter) []nf.Entry {
	l.Helper()
	list, err := l.o.SortedFlows(l.Context(), f)
	if err != nil {
		l.Fatal(err)
	}
	return list
}

func (l lab) expectations() []nf.Expectation {
	l.Helper()
	var list []nf.Expectation
	for e, err := range l.o.Expectations(l.Context()) {
		if err != nil {
			l.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// No listener requires the DESTROY events here.
func TestNothingIsDying(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	x.sendSYNs(3, web)
	for e, err := range x.o.Dying(t.Context()) {
		t.Errorf("got %v, %v", e, err)
	}
}

// Entries whose DESTROY event cannot be delivered to a listener that requires delivery are no longer in the table but
// still exist. When the listener reads, the kernel sends the events again and frees the entries.
func TestEntriesWithAnUndeliveredEventAreDying(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	listener := x.sureListener()
	x.sendSYNs(20, web)
	if _, err := x.env.Table().Flush(t.Context(), nf.Filter{}); err != nil {
		t.Fatal(err)
	}

	flows := map[nf.Tuple]bool{}
	for i := range 20 {
		flows[packet.SYN(web.Nth(i)).Tuple()] = true
	}
	dying := x.dying()
	for _, e := range dying {
		if !flows[e.Orig] {
			t.Errorf("%v is dying, which was not there or is twice", e)
		}
		delete(flows, e.Orig)
	}
	if len(dying) == 0 || len(dying) == 20 {
		t.Errorf("%d of 20 are dying; want those that the listener's buffer has no room for", len(dying))
	}
	if left := x.flows(nf.Filter{}); len(left) != 0 {
		t.Errorf("the table still has %q", left)
	}

	buffer := make([]byte, 64<<10)
	x.await("nothing is dying when the listener reads", func() bool {
		for {
			if _, err := unix.Read(listener, buffer); err != nil && err != unix.ENOBUFS {
				break
			}
		}
		return len(x.dying()) == 0
	})
}

// sureListener returns a socket for DESTROY events that requires delivery and has a small buffer; the kernel frees no
// entry before its event was delivered (net/netfilter/nf_conntrack_ecache.c, ecache_work_evict_list).
func (l lab) sureListener() int {
	l.Helper()
	fd := -1
	err := l.env.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
		return err
	})
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { unix.Close(fd) })
	const destroyed = 3 // NFNLGRP_CONNTRACK_DESTROY
	if err := errors.Join(
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<10),
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_BROADCAST_ERROR, 1),
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, destroyed),
	); err != nil {
		l.Fatal(err)
	}
	return fd
}

func (l lab) dying() []nf.Entry {
	l.Helper()
	var list []nf.Entry
	for e, err := range l.o.Dying(l.Context()) {
		if err != nil {
			l.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// If the kernel has no list, that is an error and not an empty list.
func TestUnconfirmedWithoutAListIsUnsupported(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	for e, err := range x.o.Unconfirmed(t.Context()) {
		if u := new(nf.UnsupportedError); !errors.As(err, &u) || u.Hint == "" {
			t.Errorf("got %v, %v", e, err)
		}
	}
}

// An expected table can be written as text in any of the forms. Attributes that differ from run to run are ignored.
func TestTableCanBeWrittenAsText(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	x.send(closedConnection(web)...)
	x.send(web.Nth(1).UDP(nil))

	want, err := nf.ParseEntries(`
		# as conntrack -L prints it, and in the canonical form
		tcp      6 119 TIME_WAIT src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80 src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10000 [ASSURED] mark=0 use=1
		udp src=198.18.0.2 dst=192.0.2.1 sport=10001 dport=80 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10001
	`)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sortedLines(want), sortedLines(x.entries(nf.Filter{}))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

const redirecting = `
table ip nat {
	chain pre {
		type nat hook prerouting priority dstnat;
		tcp dport 80 redirect to :8080
	}
	chain in {
		type nat hook input priority 100;
		tcp dport 8080 snat to 203.0.113.7:4000
	}
}`

// NAT tells which side was translated.
func TestEntryHasItsTranslation(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{netnsenv.NFT(redirecting)}})
	x.send(packet.SYN(web))
	e, err := x.o.Get(t.Context(), web.Tuple(nf.TCP), 0)
	if err != nil {
		t.Fatal(err)
	}
	const want = "src 198.18.0.2:10000 to 203.0.113.7:4000, dst 192.0.2.1:80 to 192.0.2.1:8080"
	if got := e.NAT().String(); got != want || !e.Status.Has(nf.SrcNAT|nf.DstNAT) {
		t.Errorf("got %q, status %v; want %q", got, e.Status, want)
	}
}

// Start is set if the kernel records it. A connection picked up in the middle has no window check.
func TestEntryHasTimesAndFlags(t *testing.T) {
	t.Parallel()
	before := time.Now().Add(-time.Second)
	x := open(t, netnsenv.Config{Silent: true, Sysctls: map[string]string{"net.netfilter.nf_conntrack_acct": "1"}})
	x.send(packet.ACK(web), packet.ACK(web))
	e, err := x.o.Get(t.Context(), web.Tuple(nf.TCP), 0)
	if err != nil {
		t.Fatal(err)
	}
	if e.Start.Before(before) || e.Start.After(time.Now().Add(time.Second)) || !e.Stop.IsZero() {
		t.Errorf("start %v, stop %v", e.Start, e.Stop)
	}
	if !e.TCP.Orig.Flags.Has(nf.BeLiberal) || !e.TCP.Reply.Flags.Has(nf.BeLiberal) {
		t.Errorf("flags %v and %v, want BE_LIBERAL in both", e.TCP.Orig.Flags, e.TCP.Reply.Flags)
	}
	if want := (nf.DirCounts{Orig: 2}); e.Packets != want {
		t.Errorf("packets: got %v, want %v", e.Packets, want)
	}
	if _, err := x.env.Table().Flush(t.Context(), nf.Filter{}); err != nil {
		t.Fatal(err)
	}
	for event, err := range x.o.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		e = event.Entry
	}
	if e.Stop.Before(e.Start) || e.Start.IsZero() {
		t.Errorf("destroyed: start %v, stop %v", e.Start, e.Stop)
	}
}

// manyKinds opens an Env whose table has an entry of every kind that the forms distinguish.
func manyKinds(t *testing.T) lab {
	t.Helper()
	x := open(t, netnsenv.Config{Silent: true, Sysctls: map[string]string{
		"net.netfilter.nf_conntrack_acct": "1", "net.netfilter.nf_conntrack_timestamp": "1",
	}})
	for _, e := range []nf.Entry{
		entry(web.Nth(1), func(e *nf.Entry) { e.Status |= nf.SeenReply | nf.Assured; e.Mark = 3 }),
		entry(web.Nth(2), func(e *nf.Entry) { e.Zone, e.State = 7, nf.TimeWait }),
		entry(web.Nth(3), func(e *nf.Entry) { e.Zone, e.ZoneDir = 7, nf.Original }),
		entry(web.Nth(4), func(e *nf.Entry) { e.Zone, e.ZoneDir = 7, nf.Reply }),
		entry(web6, func(e *nf.Entry) { e.Orig.Proto, e.Reply.Proto, e.State = nf.UDP, nf.UDP, 0 }),
		entry(web, func(e *nf.Entry) {
			e.Orig.Proto, e.Reply.Proto, e.State = 50, 50, 0
			e.Orig, e.Reply = noPorts(e.Orig), noPorts(e.Reply)
		}),
		entry(web, func(e *nf.Entry) { e.Orig.Proto, e.Reply.Proto, e.State = nf.GRE, nf.GRE, 0 }),
		entry(web.Nth(5), func(e *nf.Entry) { e.Reply.Dst = addrPort("192.0.2.9:1024") }),
	} {
		if err := x.env.Table().Create(e); err != nil {
			t.Fatal(err)
		}
	}
	x.send(packet.SYN(web), packet.SYN(web), web.UDP(nil), packet.Echo(web.Src.Addr(), web.Dst.Addr(), 7, 1, nil))
	return x
}

func noPorts(t nf.Tuple) nf.Tuple {
	t.Src, t.Dst = addrPort(t.Src.Addr().String()+":0"), addrPort(t.Dst.Addr().String()+":0")
	return t
}

// canonical returns the lines of a text in the canonical form, in order.
func canonical(t *testing.T, text string) []string {
	t.Helper()
	entries, err := nf.ParseEntries(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return sortedLines(entries)
}

func sortedLines(entries []nf.Entry) []string {
	var lines []string
	for _, e := range entries {
		lines = append(lines, e.String())
	}
	slices.Sort(lines)
	return lines
}

func TestFlowsAgreeWithProc(t *testing.T) {
	t.Parallel()
	x := manyKinds(t)
	var text []byte
	err := x.env.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/nf_conntrack")
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = &nf.UnsupportedError{Need: "CONFIG_NF_CONNTRACK_PROCFS", Hint: "use a kernel that has it", Err: err}
	}
	needs.Check(t, err)
	if diff := cmp.Diff(canonical(t, string(text)), sortedLines(x.entries(nf.Filter{}))); diff != "" {
		t.Errorf("(-proc +netlink):\n%s", diff)
	}
}

// The output of conntrack is parsed into the entries that Flows returns, except for attributes that conntrack does
// not print.
func TestFlowsAgreeWithConntrack(t *testing.T) {
	t.Parallel()
	x := manyKinds(t)
	if _, err := exec.LookPath("conntrack"); err != nil {
		needs.Check(t, &nf.UnsupportedError{Need: "conntrack", Hint: "apt-get install conntrack", Err: err})
	}
	for _, options := range [][]string{nil, {"-o", "extended"}, {"-o", "extended,id,ktimestamp"}} {
		var text strings.Builder
		for _, family := range []string{"ipv4", "ipv6"} {
			out, err := x.env.Command(t.Context(), "conntrack", append([]string{"-L", "-f", family}, options...)...).Output()
			if err != nil {
				t.Fatalf("conntrack -L -f %s %q: %v", family, options, err)
			}
			text.Write(out)
		}
		entries, err := nf.ParseEntries(text.String())
		if err != nil {
			t.Fatalf("%v in\n%s", err, text.String())
		}
		withID := len(options) > 1 && strings.Contains(options[1], "id")
		if diff := cmp.Diff(printed(x.entries(nf.Filter{}), withID), printed(entries, withID)); diff != "" {
			t.Errorf("conntrack -L %q (-netlink +text):\n%s", options, diff)
		}
	}
}

// conntrackEntry is what conntrack prints of an entry and the canonical form does not.
type conntrackEntry struct {
	Line           string
	Packets, Bytes nf.DirCounts
	ID             uint32
	Start          int64
}

func printed(entries []nf.Entry, withID bool) []conntrackEntry {
	var list []conntrackEntry
	for _, e := range entries {
		p := conntrackEntry{Line: e.String(), Packets: e.Packets, Bytes: e.Bytes}
		if withID {
			p.ID, p.Start = e.ID, e.Start.Unix()
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b conntrackEntry) int { return strings.Compare(a.Line, b.Line) })
	return list
}

// An entry that the list leaves out, because it is in the filler's zone, is an error.
func TestHiddenEntryIsAnError(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, Room: netnsenv.Free(7)}, func(c *observe.Config) { c.Exclusive, c.NoEvents = true, true })
	assured := func(e *nf.Entry) { e.Status |= nf.SeenReply | nf.Assured } // the garbage collector takes others from a full table
	for i := range 2 {
		if err := x.env.Table().Create(entry(web.Nth(i), assured)); err != nil {
			t.Fatal(err)
		}
	}
	if got := x.flows(nf.Filter{}); len(got) != 2 {
		t.Fatalf("%q", got)
	}
	hidden := entry(web.Nth(5), assured)
	hidden.Zone = ours.FillerZone
	if err := x.env.Do(func() error {
		conn, err := nfnl.Dial()
		if err != nil {
			return err
		}
		defer conn.Close()
		return conn.Do(nfnl.AppendCreate(nil, hidden))
	}); err != nil {
		t.Fatal(err)
	}
	if list, err := x.o.SortedFlows(t.Context(), nf.Filter{}); !errors.Is(err, observe.ErrHidden) || list != nil {
		t.Errorf("%v, %v; want %v", list, err, observe.ErrHidden)
	}
	n := 0
	var last error
	for _, err := range x.o.Flows(t.Context(), nf.Filter{}) { // which are counted at the end
		n++
		last = err
	}
	if n != 3 || !errors.Is(last, observe.ErrHidden) {
		t.Errorf("%d steps, then %v; want 2 flows and %v", n, last, observe.ErrHidden)
	}
	deleted := false
	for e, err := range x.o.Flows(t.Context(), nf.Filter{}) { // as many as were listed are counted then: by chance
		if last = err; err == nil && !deleted {
			deleted = true
			if err := x.env.Table().Delete(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !errors.Is(last, observe.ErrHidden) {
		t.Errorf("beside a deletion: %v, want %v", last, observe.ErrHidden)
	}
}
