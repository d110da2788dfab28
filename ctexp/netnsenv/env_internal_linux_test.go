package netnsenv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mdlayher/netlink"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/jiffies"
	"github.com/ctexp/go-ctexp/internal/needs"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// An Env that dials, listens and executes programs many times keeps little more than the sockets that are open.
func TestClosedSocketsAreForgotten(t *testing.T) {
	t.Parallel()
	e, err := Open(t.Context(), Config{Links: []LinkConfig{{Kind: Veth}}})
	needs.Check(t, err)
	defer e.Close()
	before := e.closers.list.Len()
	kept, err := e.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := e.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		c, err := e.Dial(t.Context(), "udp", kept.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	if err := e.Command(t.Context(), "/proc/self/exe", "-test.run=^$").Run(); err != nil {
		t.Fatal(err)
	}
	if n := e.closers.list.Len() - before; n > 100 {
		t.Errorf("%d things are remembered of 2 that are open", n)
	}
	if _, err := kept.WriteTo([]byte("x"), kept.LocalAddr()); err != nil || isClosed(l.(syscall.Conn)) {
		t.Errorf("what was open is no longer: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.Accept(); err == nil {
		t.Error("the listener has outlived its Env")
	}
}

// A timeout is told to the second if exactly one whole number of seconds fits what was read.
func TestOnlySecond(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		low, high time.Duration // milliseconds
		want      time.Duration // seconds; 0: not one
	}{
		{119_004, 120_030, 120},
		{119_000, 120_001, 120},
		{119_000, 120_000, 0}, // neither end is included
		{119_990, 121_000, 120},
		{119_990, 121_001, 0},
	} {
		got, ok := onlySecond(c.low*time.Millisecond, c.high*time.Millisecond)
		if !ok {
			got = 0
		}
		if got != c.want*time.Second {
			t.Errorf("between %d and %d ms: %v, want %d s", c.low, c.high, got, c.want)
		}
	}
}

// A tun that cannot be attached does not leave its file open. This test is not parallel, because others open tuns.
func TestTunThatFailsIsClosed(t *testing.T) {
	e, err := Open(t.Context(), Config{})
	needs.Check(t, err)
	defer e.Close()
	open := func() (n int) {
		links, _ := filepath.Glob("/proc/self/fd/*")
		for _, l := range links {
			if to, _ := os.Readlink(l); to == "/dev/net/tun" {
				n++
			}
		}
		return n
	}
	before := open()
	d, err := openTun(e, "lo") // the name is taken
	if unsupported(err) {
		needs.Check(t, err)
	}
	if after := open(); err == nil || d != nil || after != before {
		t.Errorf("%v, %v: %d files of tuns before, %d after", d, err, before, after)
	}
}

// Who waits for the turn to fill the table can stop to wait, and says what for. This test is not parallel, because others
// fill tables.
func TestWaitingToFillEndsWithItsContext(t *testing.T) {
	e, err := Open(t.Context(), Config{})
	needs.Check(t, err)
	defer e.Close()
	done, err := filling.Take(t.Context(), "hold it")
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errors.New("enough"))
	defer cancel()
	err = e.addFiller(ctx, 1)
	if err == nil || err.Error() != "waiting for the turn to fill the table, 1 before: enough" {
		t.Errorf("got %v", err)
	}
}

// A round in which a CPU had a backlog and processed nothing is not counted as patience.
func TestABacklogThatDoesNotMoveIsStuck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		before, now backlogs
		want        bool
	}{
		{nil, backlogs{{5, 1}}, false},
		{backlogs{{5, 0}, {7, 3}}, backlogs{{5, 0}, {7, 3}}, true},
		{backlogs{{5, 0}, {7, 3}}, backlogs{{5, 0}, {8, 3}}, false},
		{backlogs{{5, 0}, {7, 3}}, backlogs{{5, 0}, {7, 0}}, false},
	} {
		if got := c.now.stuckSince(c.before); got != c.want {
			t.Errorf("%v, then %v: %v, want %v", c.before, c.now, got, c.want)
		}
	}
	if b := readBacklogs(); b != nil && len(b) > 1<<16 {
		t.Errorf("%d CPUs", len(b))
	}
}

// The errors of what an Env closes are those of Close, but for what was closed before.
func TestCloseReturnsTheErrorsOfAll(t *testing.T) {
	t.Parallel()
	e, err := Open(t.Context(), Config{})
	needs.Check(t, err)
	first, second := errors.New("first"), errors.New("second")
	for _, err := range []error{first, net.ErrClosed, second} {
		e.onClose(closerFunc(func() error { return err }))
	}

	err = e.Close()

	if !errors.Is(err, first) || !errors.Is(err, second) || errors.Is(err, net.ErrClosed) {
		t.Errorf("Close: %v, want both errors and no %v", err, net.ErrClosed)
	}
	if err := e.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

// After nextJiffy the kernel's clock has advanced.
func TestNextJiffyWaitsForTheClock(t *testing.T) {
	t.Parallel()
	for range 20 {
		before, err := jiffies.Now()
		if err != nil {
			t.Fatal(err)
		}
		if err := nextJiffy(t.Context()); err != nil {
			t.Fatal(err)
		}
		if now, err := jiffies.Now(); now <= before || err != nil {
			t.Fatalf("from %v to %v, %v", before, now, err)
		}
	}
}

// A link says what it is, and why it is no tun if it could have been one.
func TestLinkPrintsItself(t *testing.T) {
	t.Parallel()
	prefixes := []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64")}
	for want, l := range map[string]*Link{
		"tun0 (tun) 192.0.2.1/24 2001:db8::1/64": {cfg: LinkConfig{Name: "tun0", Prefixes: prefixes}, kind: Tun},
		"a (veth, not tun: no device)":           {cfg: LinkConfig{Name: "a"}, kind: Veth, why: errors.New("no device")},
		"b (veth, not tun: needs /dev/net/tun) 192.0.2.1/24 2001:db8::1/64": {
			cfg: LinkConfig{Name: "b", Prefixes: prefixes}, kind: Veth,
			why: fmt.Errorf("open: %w", &nf.UnsupportedError{Need: "/dev/net/tun", Hint: "sudo chmod 0666 /dev/net/tun", Err: os.ErrPermission}),
		},
	} {
		if got := l.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// An Env without links says so, rather than nothing.
func TestEnvWithoutLinksPrintsItself(t *testing.T) {
	t.Parallel()
	if got, want := (&Env{}).String(), "a network without links"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The programs of root are found inside, behind those that were found before.
func TestPathHasTheProgramsOfRoot(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/usr/local/bin:/usr/bin:/bin":             "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
		"/sbin:/bin:/usr/sbin":                     "/sbin:/bin:/usr/sbin:/usr/local/sbin",
		"/usr/local/sbin:/usr/sbin:/sbin:/usr/bin": "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin",
		"": "/usr/local/sbin:/usr/sbin:/sbin",
	} {
		if got := rootPath(path); got != want {
			t.Errorf("%q: got %q, want %q", path, got, want)
		}
	}
	needs.Check(t, entered())
	if dirs := filepath.SplitList(os.Getenv("PATH")); !slices.Contains(dirs, "/usr/sbin") {
		t.Errorf("this process has PATH %q", dirs)
	}
}

func TestBacklogPrintsItself(t *testing.T) {
	t.Parallel()
	for want, b := range map[string]Backlog{
		"4 packets by the qdisc tbf of tun1": {By: "tbf", Link: "tun1", Packets: 4},
		"1 packet by NFQUEUE 5":              {By: "NFQUEUE 5", Packets: 1},
	} {
		if got := b.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A helper that the kernel does not know is a lack of its module, or a mistake.
func TestUnknownHelperIsALackOrAMistake(t *testing.T) {
	t.Parallel()
	cause := errors.New("refused")
	for _, c := range []struct {
		helper Helper
		lack   bool
		want   string
	}{
		{Helper{Name: "ftp", Proto: nf.TCP}, true, "nf_conntrack_ftp"},
		{Helper{Name: "ftp", Proto: nf.UDP}, false, "it supports tcp, not udp"},
		{Helper{Name: "none", Proto: nf.TCP}, false, "want one of"},
	} {
		err := c.helper.unknown(cause)
		if !errors.Is(err, cause) || errors.Is(err, errors.ErrUnsupported) != c.lack || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s over %v: %v; want %q, a lack: %v", c.helper.Name, c.helper.Proto, err, c.want, c.lack)
		}
	}
}

// The observers of an Env and what loads rules get the errors of what they do inside.
func TestQuietDoReturnsTheError(t *testing.T) {
	t.Parallel()
	e, err := Open(t.Context(), Config{})
	needs.Check(t, err)
	defer e.Close()
	want := errors.New("went wrong")
	if err := (quiet{e}).Do(func() error { return want }); !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

// Classes need a kernel that logs.
func TestClassesNeedReasons(t *testing.T) {
	t.Parallel()
	e, err := Open(t.Context(), Config{})
	needs.Check(t, err)
	defer e.Close()
	e.reasons = false
	if err := e.Classify(t.Context()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v, want one that is unsupported", err)
	}
}

// Fragments are copied when they arrive if somebody may see them later: a capture, or the probes in front of the reassembly.
func TestFragmentsAreCopiedIfTheyAreSeen(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg  Config
		want bool
	}{
		"a capture and a path": {Config{}, true},
		"a capture":            {Config{NoPath: true}, true},
		"a path":               {Config{NoFrames: true}, true},
		"neither":              {Config{NoPath: true, NoFrames: true}, false},
	} {
		e, err := Open(t.Context(), c.cfg)
		needs.Check(t, err)
		if want := c.want && e.CopiesFragments(); e.owned.copies != want {
			t.Errorf("%s: fragments are copied: %v, want %v", name, e.owned.copies, want)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What is lost is told once, and an error of the count is one of the fence.
func TestFenceTellsOnceWhatIsLost(t *testing.T) {
	t.Parallel()
	arrived, broken := uint64(0), error(nil)
	l := &Link{cfg: LinkConfig{Name: "tun0"}, fence: &fence{count: func() (uint64, error) { return arrived, broken }}}
	l.written.Store(3)
	arrived = 1

	first, again := l.settle(t.Context()), l.settle(t.Context())

	if want := `link "tun0": 2 of 3 packets were lost before ingress`; first == nil || first.Error() != want || again != nil {
		t.Errorf("first %v, want %s; then %v, want no error", first, want, again)
	}
	broken = errors.New("no counter")
	if err := l.settle(t.Context()); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
	calls := 0
	l.fence.count = func() (uint64, error) {
		if calls++; calls > 1 {
			return arrived, broken
		}
		return arrived, nil
	}
	l.written.Store(4)
	if err := l.settle(t.Context()); !errors.Is(err, broken) {
		t.Errorf("while it waits: %v, want %v", err, broken)
	}
}

// A packet socket that cannot be bound is closed. This test is not parallel, because others open sockets.
func TestPacketSocketThatFailsIsClosed(t *testing.T) {
	e, err := Open(t.Context(), Config{})
	needs.Check(t, err)
	defer e.Close()
	sockets := func() (n int) {
		links, _ := filepath.Glob("/proc/self/fd/*")
		for _, l := range links {
			if to, _ := os.Readlink(l); strings.HasPrefix(to, "socket:") {
				n++
			}
		}
		return n
	}
	const tries = 50 // sockets of tests before this one may be closed meanwhile
	before := sockets()
	for range tries {
		err := e.do(func() error { _, err := packetSocket(1 << 30); return err })
		if !errors.Is(err, unix.ENODEV) {
			t.Fatalf("got %v, want %v", err, unix.ENODEV)
		}
	}
	if after := sockets(); after-before >= tries/2 {
		t.Errorf("%d sockets before, %d after", before, after)
	}
}

// What a device answers is the error of a read, once it is gone.
func TestReadOfADeletedTunFails(t *testing.T) {
	t.Parallel()
	e, err := Open(t.Context(), Config{})
	needs.Check(t, err)
	defer e.Close()
	l := e.links[0]
	needs.Check(t, l.why)
	if err := e.route.Link.Delete(l.index); err != nil {
		t.Fatal(err)
	}
	if n, err := l.ReadNow(make([]byte, 100)); n != 0 || !errors.Is(err, unix.EBADFD) {
		t.Errorf("read %d bytes, %v; want %v", n, err, unix.EBADFD)
	}
}

// The filler goes with Close, although something else keeps the namespace.
func TestCloseRemovesTheFiller(t *testing.T) {
	t.Parallel()
	e, err := Open(t.Context(), Config{Room: Free(7)})
	needs.Check(t, err)
	defer e.Close()
	var conn *nfnl.Conn
	if err := e.do(func() (err error) { conn, err = nfnl.Dial(); return err }); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	entries := func() uint32 {
		stats, err := conn.Query(netlink.Message{Header: netlink.Header{Type: 1<<8 | 5}, Data: make([]byte, 4)}) // IPCTNL_MSG_CT_GET_STATS
		if err != nil || len(stats) != 1 || len(stats[0].Data) < 12 {
			t.Fatalf("%v, %v", stats, err)
		}
		return binary.BigEndian.Uint32(stats[0].Data[8:])
	}
	before := entries()

	err = e.Close()

	if after := entries(); err != nil || int(before) != e.Room().Filler || after != 0 {
		t.Errorf("%v: %d entries before, want %d; %d after, want none", err, before, e.Room().Filler, after)
	}
}
