package netnsenv_test

import (
	"context"
	"errors"
	"iter"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
)

func entry(port uint16) nf.Entry {
	t := nf.Tuple{Proto: nf.TCP, Src: netip.AddrPortFrom(web.Src.Addr(), port), Dst: web.Dst}
	return nf.Entry{Orig: t, Reply: t.Reverse(), State: nf.Established, Timeout: time.Hour}
}

func TestTableIsWrittenAndRead(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]netnsenv.Config{"empty": {}, "filled": {Room: netnsenv.Free(7)}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t, cfg)
			table := e.Table()
			for port := range uint16(3) {
				en := entry(1000 + port)
				en.Status = nf.Confirmed | nf.SeenReply | nf.Assured // the collector of a full table takes others at any time
				en.Mark = uint32(port)
				if err := table.Create(en); err != nil {
					t.Fatal(err)
				}
			}
			if err := table.Create(entry(1000)); !errors.Is(err, unix.EEXIST) {
				t.Errorf("create again: %v", err)
			}
			changed := entry(1001)
			changed.Mark = 9
			if err := table.Update(changed); err != nil {
				t.Errorf("update: %v", err)
			}
			if n, err := table.Flush(t.Context(), nf.Filter{Mark: 9, MarkMask: ^uint32(0)}); n != 1 || err != nil {
				t.Errorf("flush by the new mark: %d, %v", n, err)
			}
			if err := table.Delete(entry(1002)); err != nil {
				t.Errorf("delete: %v", err)
			}
			if err := table.Delete(entry(1002)); !errors.Is(err, unix.ENOENT) {
				t.Errorf("delete again: %v", err)
			}
			if n := count(t, e); n != 1 {
				t.Errorf("%d entries left, want 1", n)
			}
		})
	}
}

// observer opens an Observer of an Env.
func observer(t testing.TB, e *netnsenv.Env) *observe.Observer {
	t.Helper()
	o, err := observe.Open(t.Context(), e, observe.Config{NoFrames: true})
	needs.Check(t, err)
	t.Cleanup(func() { _ = o.Close() })
	return o
}

// writable has entries with all fields that can be set.
func writable() map[string]nf.Entry {
	with := func(change func(*nf.Entry)) nf.Entry {
		e := entry(1)
		change(&e)
		return e
	}
	other := func(p nf.Proto, src, dst string) nf.Entry {
		t := nf.Tuple{Proto: p, Src: addrPort(src), Dst: addrPort(dst)}
		if p == nf.ICMP {
			t.ICMP = nf.ICMPTuple{Type: 8, ID: 5}
		}
		return nf.Entry{Orig: t, Reply: t.Reverse(), Timeout: 90 * time.Second}
	}
	return map[string]nf.Entry{
		"plain":                     entry(1),
		"with a mark":               with(func(e *nf.Entry) { e.Mark = 77 }),
		"with labels":               with(func(e *nf.Entry) { e.Labels = "0102" }),
		"with a helper":             with(func(e *nf.Entry) { e.Helper = "ftp" }),
		"assured":                   with(func(e *nf.Entry) { e.Status = nf.Confirmed | nf.SeenReply | nf.Assured }),
		"with a fixed timeout":      with(func(e *nf.Entry) { e.Status = nf.Confirmed | nf.FixedTimeout }),
		"with part of a second":     with(func(e *nf.Entry) { e.Timeout = 89*time.Second + 1 }),
		"in a zone":                 with(func(e *nf.Entry) { e.Zone = 7 }),
		"in a zone by its original": with(func(e *nf.Entry) { e.Zone, e.ZoneDir = 7, nf.Original }),
		"in a zone by its reply":    with(func(e *nf.Entry) { e.Zone, e.ZoneDir = 7, nf.Reply }),
		"translated":                with(func(e *nf.Entry) { e.Reply.Src = addrPort("192.0.2.9:8080") }),
		"UDP over IPv6":             other(nf.UDP, "[2001:db8::2]:5000", "[2001:db8::1]:53"),
		"ICMP":                      other(nf.ICMP, "198.18.0.2:0", "192.0.2.1:0"),
		"GRE":                       other(nf.GRE, "198.18.0.2:5", "192.0.2.1:6"),
		"without ports":             other(99, "198.18.0.2:0", "192.0.2.1:0"),
	}
}

// Create uses ti-mo/conntrack and CreateAll does not. Both create the requested entries.
func TestCreateAndCreateAllAreEquivalent(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	o := observer(t, e)
	made := func(create func() error) (entries []nf.Entry, refused error) {
		if err := create(); err != nil {
			return nil, unwrapAll(err) // a kernel without the helper, say
		}
		for got, err := range o.Flows(t.Context(), nf.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			got.ID, got.Start = 0, time.Time{}
			got.Timeout = got.Timeout.Round(30 * time.Second)
			entries = append(entries, got)
		}
		if n, err := e.Table().Flush(t.Context(), nf.Filter{}); n != 1 || err != nil {
			t.Fatalf("%d entries deleted, %v", n, err)
		}
		return entries, nil
	}
	for name, want := range writable() {
		one, err := made(func() error { return e.Table().Create(want) })
		bulk, bulkErr := made(func() error {
			_, err := e.Table().CreateAll(t.Context(), func(yield func(nf.Entry) bool) { yield(want) })
			return err
		})
		if diff := cmp.Diff(one, bulk, cmp.Comparer(func(a, b nf.Entry) bool { return a == b })); diff != "" || err != bulkErr {
			t.Errorf("%s: %v and %v (-Create +CreateAll):\n%s", name, err, bulkErr, diff)
		}
		if err != nil {
			continue
		}
		want.Labels = one[0].Labels // a namespace without rules about labels keeps none
		want.Timeout = want.Timeout.Round(30 * time.Second)
		want.Status |= nf.Confirmed | one[0].Status&(nf.Helper|nf.SrcNATDone|nf.DstNATDone)
		if one[0] != want {
			t.Errorf("%s: made %+v\nwant %+v", name, one[0], want)
		}
	}
}

// An entry with another ID is not deleted.
func TestDeleteByID(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	if err := e.Table().Create(entry(1)); err != nil {
		t.Fatal(err)
	}
	got, err := observer(t, e).Get(t.Context(), entry(1).Orig, 0)
	if err != nil {
		t.Fatal(err)
	}
	another := got
	another.ID++
	if err := e.Table().Delete(another); !errors.Is(err, unix.ENOENT) || count(t, e) != 1 {
		t.Errorf("with another id: %v, %d entries", err, count(t, e))
	}
	if err := e.Table().Delete(got); err != nil || count(t, e) != 0 {
		t.Errorf("with its id: %v, %d entries", err, count(t, e))
	}
}

// An update does not change fields that are zero. With a TCP state, the window scales remain.
func TestUpdateLeavesTheRest(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	l, err := e.Listen(t.Context(), "tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	send(t, e, packet.SYN(web).With(packet.Options(packet.MSS(1460), packet.WindowScale(7))))
	o := observer(t, e)
	before, err := o.Get(t.Context(), web.Tuple(nf.TCP), 0)
	if err != nil {
		t.Fatal(err)
	}
	if before.TCP.Orig.Scale != 7 || before.TCP.Reply.Scale == 0 {
		t.Fatalf("the handshake has left the scales %+v", before.TCP)
	}
	change := nf.Entry{Orig: before.Orig, Reply: before.Reply, State: nf.Established}
	if err := e.Table().Update(change); err != nil {
		t.Fatal(err)
	}
	change.State, change.Mark, change.Timeout = nf.TCPNone, 9, 10*time.Minute
	if err := e.Table().Update(change); err != nil {
		t.Fatal(err)
	}
	got, err := o.Get(t.Context(), before.Orig, 0)
	want := before
	want.State, want.Mark, want.Timeout = nf.Established, 9, got.Timeout
	if got != want || got.Timeout < 9*time.Minute || err != nil {
		t.Errorf("%v: got %+v\nwant %+v", err, got, want)
	}
}

func TestFillersZoneIsRejected(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	en := entry(1)
	en.Zone = 65535
	if err := e.Table().Create(en); err == nil {
		t.Error("an entry in the filler's zone was created")
	}
	if n, err := e.Table().CreateAll(t.Context(), func(yield func(nf.Entry) bool) { _ = yield(entry(2)) && yield(en) }); n != 1 || err == nil {
		t.Errorf("an entry, and one in the filler's zone: %d created, %v", n, err)
	}
}

// entries yields n entries with the source ports from 1 on.
func entries(n int) iter.Seq[nf.Entry] {
	return func(yield func(nf.Entry) bool) {
		for i := range n {
			if !yield(entry(uint16(1 + i))) {
				return
			}
		}
	}
}

// Many entries are created and deleted in batches, after each of which the Watcher drains its events.
func TestManyEntriesAreCreatedAndFlushed(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{Room: netnsenv.Free(1000)})
	drained := 0
	table := e.Table().WatchedBy(netnsenv.Watcher{Drain: func() { drained++ }})
	if n, err := table.CreateAll(t.Context(), entries(1000)); n != 1000 || err != nil || drained != 8 {
		t.Errorf("create: %d, %v, drained %d times; want 1000 with 8", n, err, drained)
	}
	if n := count(t, e); n != 1000 {
		t.Errorf("%d entries are there", n)
	}
	if n, err := table.Flush(t.Context(), nf.Filter{}); n != 1000 || err != nil || drained != 16 {
		t.Errorf("flush: %d, %v, drained %d times in all; want 1000 with 16", n, err, drained)
	}
	if n := count(t, e); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

// Flush deletes what the filter selects in every zone, by whatever way is the shortest, and leaves the filler.
func TestFlushDeletesInEveryZone(t *testing.T) {
	t.Parallel()
	inZone := func(port, zone uint16) nf.Entry {
		en := entry(port)
		en.Zone = zone
		en.Status |= nf.Confirmed | nf.SeenReply | nf.Assured // else the garbage collector may take it from the full table
		return en
	}
	oneWay := inZone(5, 9)
	oneWay.ZoneDir = nf.Original
	all := []nf.Entry{inZone(1, 0), inZone(2, 0), inZone(1, 7), inZone(2, 7), oneWay}
	known := netnsenv.Watcher{Entries: func(f nf.Filter) iter.Seq2[nf.Entry, error] {
		return func(yield func(nf.Entry, error) bool) {
			for _, en := range all {
				if f.Match(en) && !yield(en, nil) {
					return
				}
			}
		}
	}}
	for name, room := range map[string]netnsenv.Room{"alone": {}, "beside a filler": netnsenv.Free(1000)} {
		e := open(t, netnsenv.Config{Room: room})
		for _, c := range []struct {
			what   string
			filter nf.Filter
			want   int
			slow   bool // lists the filler, too
		}{
			{"all", nf.Filter{}, 5, false},
			{"zone 0", nf.Filter{Zone: nf.InZone(0)}, 2, true},
			{"zone 7", nf.Filter{Zone: nf.InZone(7)}, 2, true},
			{"zone 8", nf.Filter{Zone: nf.InZone(8)}, 0, true},
			{"a tuple", nf.Filter{Tuple: entry(1).Orig}, 2, false},
			{"a tuple in zone 7", nf.Filter{Tuple: entry(1).Reply, Zone: nf.InZone(7)}, 1, false},
			{"the reply of a tuple in zone 9", nf.Filter{Tuple: oneWay.Reply, Zone: nf.InZone(9)}, 1, false},
			{"a status that none has", nf.Filter{StatusMask: nf.Assured}, 0, true},
		} {
			if c.slow && room != (netnsenv.Room{}) {
				continue
			}
			for who, table := range map[string]*netnsenv.Table{"watched": e.Table().WatchedBy(known), "unwatched": e.Table()} {
				if _, err := table.Flush(t.Context(), nf.Filter{}); err != nil {
					t.Fatal(err)
				}
				for _, en := range all {
					if err := table.Create(en); err != nil {
						t.Fatal(err)
					}
				}
				if n, err := table.Flush(t.Context(), c.filter); n != c.want || err != nil || count(t, e) != len(all)-n {
					t.Errorf("%s, %s, %s: %d deleted, %v, %d of %d left; want %d deleted", name, who, c.what, n, err, count(t, e), len(all), c.want)
				}
			}
		}
	}
}

// With more entries than there is room for events, they are deleted while they are listed.
func TestFlushOfManyLeavesNoEvent(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	drained := 0
	table := e.Table().WatchedBy(netnsenv.Watcher{Drain: func() { drained++ }})
	for _, c := range []struct{ n, drained int }{{128, 1}, {129, 2}} {
		if _, err := e.Table().CreateAll(t.Context(), entries(c.n)); err != nil {
			t.Fatal(err)
		}
		drained = 0
		if n, err := table.Flush(t.Context(), nf.Filter{}); n != c.n || err != nil || drained != c.drained || count(t, e) != 0 {
			t.Errorf("%d entries: %d deleted, %v, drained %d times; want %d", c.n, n, err, drained, c.drained)
		}
	}
}

// The error names the first rejected entry, and the count is the number created.
func TestCreateAllNamesTheRejectedEntry(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	if err := e.Table().Create(entry(3)); err != nil {
		t.Fatal(err)
	}
	n, err := e.Table().CreateAll(t.Context(), entries(300))
	if n != 127 || !errors.Is(err, unix.EEXIST) || !strings.Contains(err.Error(), "sport=3 ") {
		t.Errorf("%d, %v; want 127 and the entry with source port 3", n, err)
	}
	if got := count(t, e); got != 128 {
		t.Errorf("%d entries are there", got)
	}
}

func TestBulkEndsWithItsContext(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	n, err := e.Table().WatchedBy(netnsenv.Watcher{Drain: cancel}).CreateAll(ctx, entries(1000))
	if n != 128 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d, %v; want the first 128", n, err)
	}
}

func BenchmarkCreateAllAndFlush(b *testing.B) {
	const n = 10000
	e := open(b, netnsenv.Config{})
	for b.Loop() {
		if _, err := e.Table().CreateAll(b.Context(), entries(n)); err != nil {
			b.Fatal(err)
		}
		if _, err := e.Table().Flush(b.Context(), nf.Filter{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "entries/s")
}
