//go:build linux

package main

import (
	"fmt"
	"iter"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/ti-mo/conntrack"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// many is the size of a large table.
const many = 100_000

// entries yields n established entries.
func entries(n int) iter.Seq[nf.Entry] {
	return func(yield func(nf.Entry) bool) {
		for i := range n {
			if !yield(entry(i)) {
				return
			}
		}
	}
}

func entry(i int) nf.Entry {
	src := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, 0, byte(2 + i/60_000)}), uint16(1024+i%60_000))
	t := nf.Tuple{Proto: nf.TCP, Src: src, Dst: web.Dst}
	return nf.Entry{
		Orig: t, Reply: t.Reverse(), Status: nf.Confirmed | nf.SeenReply | nf.Assured, State: nf.Established, Timeout: 432000 * time.Second,
	}
}

func create(b *bench, t *netnsenv.Table, n int) {
	_, err := t.CreateAll(b.ctx, entries(n))
	b.must(err)
}

// creating returns a function that creates n entries.
func creating(b *bench, e *netnsenv.Env, n int) func() amount {
	return func() amount {
		create(b, e.Table(), n)
		return done(n)
	}
}

func againstRestore(b *bench) contender {
	const n = 20_000
	e := openEnv(b, false)
	var lines strings.Builder
	for t := range entries(n) {
		fmt.Fprintf(&lines, "-A -t 432000 -u SEEN_REPLY,ASSURED -s %v -d %v -r %v -q %v -p tcp --sport %d --dport %d --reply-port-src %d --reply-port-dst %d --state ESTABLISHED\n",
			t.Orig.Src.Addr(), t.Orig.Dst.Addr(), t.Reply.Src.Addr(), t.Reply.Dst.Addr(), t.Orig.Src.Port(), t.Orig.Dst.Port(), t.Reply.Src.Port(), t.Reply.Dst.Port())
	}
	file := tempFile(b, lines.String())
	return contender{
		ours: creating(b, e, n),
		theirs: func() amount {
			execute(b, e, nil, "conntrack", "-R", file)
			got, err := e.Table().Count()
			b.must(err)
			return done(got)
		},
		before: emptied(b, e),
	}
}

func againstCreate(b *bench) contender {
	const n = 5000
	e := openEnv(b, false)
	conn := dialTimo(b, e)
	return contender{
		ours: creating(b, e, n),
		theirs: func() amount {
			for en := range entries(n) {
				b.must(conn.Create(nfnl.Flow(en)))
			}
			return done(n)
		},
		before: emptied(b, e),
	}
}

func dialTimo(b *bench, e *netnsenv.Env) (conn *conntrack.Conn) {
	b.must(e.Do(func() (err error) {
		conn, err = conntrack.Dial(nil)
		return err
	}))
	b.later(func() { _ = conn.Close() })
	return conn
}

func fillRoom(b *bench) contender {
	var e *netnsenv.Env
	closed := func() {
		if e != nil {
			b.must(e.Close())
		}
	}
	b.later(func() {
		if e != nil {
			_ = e.Close()
		}
	})
	return contender{
		ours: func() (a amount) {
			var err error
			e, err = netnsenv.Open(b.ctx, netnsenv.Config{NoPath: true, Room: netnsenv.Free(7)})
			b.must(err)
			return done(1)
		},
		before: closed,
	}
}

// openLab opens a Lab without capture and, unless events is set, without events.
func openLab(b *bench, events bool) *ctexp.Lab {
	lab, err := ctexp.Open(b.ctx, netnsenv.Config{Silent: true, NoPath: true, NoFrames: true, NoEvents: !events, NoReasons: true})
	b.must(err)
	b.later(func() { _ = lab.Close() })
	return lab
}

// flowsOf returns a function that lists n flows.
func flowsOf(b *bench, lab *ctexp.Lab, f nf.Filter, n int) func() amount {
	return func() amount {
		got := 0
		for _, err := range lab.Observer.Flows(b.ctx, f) {
			b.must(err)
			got++
		}
		if got != n {
			b.must(fmt.Errorf("%d flows, want %d", got, n))
		}
		return done(1)
	}
}

func dump(b *bench, theirs func(*bench, *netnsenv.Env) func() amount) contender {
	lab := openLab(b, false)
	create(b, lab.Env.Table(), many)
	return contender{ours: flowsOf(b, lab, nf.Filter{}, many), theirs: theirs(b, lab.Env)}
}

func listing(b *bench, e *netnsenv.Env) func() amount {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	b.must(err)
	b.later(func() { _ = null.Close() })
	return func() amount {
		execute(b, e, null, "conntrack", "-L")
		return done(1)
	}
}

func timoDump(b *bench, e *netnsenv.Env) func() amount {
	conn := dialTimo(b, e)
	return func() amount {
		flows, err := conn.Dump(nil)
		b.must(err)
		if len(flows) != many {
			b.must(fmt.Errorf("%d flows, want %d", len(flows), many))
		}
		return done(1)
	}
}

func bareDump(b *bench, e *netnsenv.Env) func() amount {
	var conn *nfnl.Conn
	b.must(e.Do(func() (err error) {
		conn, err = nfnl.Dial()
		return err
	}))
	b.later(func() { _ = conn.Close() })
	return func() amount {
		b.must(conn.Dump(nfnl.DumpEntries(nf.Filter{}, false), func([]byte, int) error { return nil }))
		return done(1)
	}
}

func dumpSmall(b *bench) contender {
	lab := openLab(b, true)
	create(b, lab.Env.Table(), 10)
	return contender{ours: flowsOf(b, lab, nf.Filter{}, 10)}
}

func oneFlow(b *bench) contender {
	lab := openLab(b, true)
	create(b, lab.Env.Table().WatchedBy(netnsenv.Watcher{Drain: lab.Observer.Drain}), many)
	return contender{ours: flowsOf(b, lab, nf.Filter{Tuple: entry(many / 2).Orig}, 1)}
}

func flush(b *bench) contender {
	e := openEnv(b, false)
	return contender{
		ours: func() amount {
			n, err := e.Table().Flush(b.ctx, nf.Filter{})
			b.must(err)
			return whole(b, n)
		},
		theirs: func() amount {
			execute(b, e, nil, "conntrack", "-F")
			return done(1)
		},
		before: func() {
			emptied(b, e)()
			create(b, e.Table(), many)
		},
	}
}

// whole is done(1) if all entries were meant.
func whole(b *bench, n int) amount {
	if n != many {
		b.must(fmt.Errorf("%d entries, want %d", n, many))
	}
	return done(1)
}

func tally(b *bench) contender {
	lab, err := ctexp.Open(b.ctx, netnsenv.Config{Silent: true, Probes: []nf.Probe{nf.RawPrerouting, nf.ManglePrerouting}})
	b.must(err)
	b.later(func() { _ = lab.Close() })
	return contender{ours: func() amount {
		var t observe.Tally
		t, err := lab.Observer.Tally(b.ctx)
		b.must(err)
		return done(max(1, t.Entries))
	}}
}
