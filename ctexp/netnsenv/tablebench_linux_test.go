package netnsenv_test

import (
	"testing"

	"github.com/ti-mo/conntrack"
	"github.com/ti-mo/netfilter"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/mmsg"
	"github.com/ctexp/go-ctexp/internal/needs"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// These benchmarks compare ti-mo/conntrack with internal/nfnl. They are the reason that the latter exists: single
// requests take about the same time, and go through ti-mo/conntrack unless it cannot express them, but many requests at
// once are much faster.

// conns opens a connection of each kind in an Env without entries.
func conns(b *testing.B) (*netnsenv.Env, *conntrack.Conn, *nfnl.Conn) {
	e := open(b, netnsenv.Config{NoPath: true})
	var theirs *conntrack.Conn
	var ours *nfnl.Conn
	needs.Check(b, e.Do(func() (err error) {
		if theirs, err = conntrack.Dial(nil); err == nil {
			ours, err = nfnl.Dial()
		}
		return err
	}))
	b.Cleanup(func() {
		_ = theirs.Close()
		_ = ours.Close()
	})
	return e, theirs, ours
}

// flush empties the table while the timer is stopped.
func flush(b *testing.B, e *netnsenv.Env) {
	b.StopTimer()
	if _, err := e.Table().Flush(b.Context(), nf.Filter{}); err != nil {
		b.Fatal(err)
	}
	b.StartTimer()
}

func must(b *testing.B, err error) {
	if err != nil {
		b.Helper()
		b.Fatal(err)
	}
}

// BenchmarkTableOneByOne creates and deletes single entries.
func BenchmarkTableOneByOne(b *testing.B) {
	_, theirs, ours := conns(b)
	b.Run("ti-mo", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			must(b, theirs.Create(nfnl.Flow(entry(1))))
			must(b, theirs.Delete(nfnl.Flow(entry(1))))
		}
	})
	b.Run("nfnl", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			must(b, ours.Do(nfnl.AppendCreate(nil, entry(1))))
			must(b, ours.Do(nfnl.AppendDelete(nil, entry(1))))
		}
	})
}

const inBulk = 10_000

func perSecond(b *testing.B, n int, what string) {
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), what+"/s")
}

// BenchmarkTableInBulk creates 10,000 entries; bare sends requests that were encoded before, and is what the kernel needs.
func BenchmarkTableInBulk(b *testing.B) {
	e, theirs, ours := conns(b)
	b.Run("ti-mo", func(b *testing.B) {
		for b.Loop() {
			for en := range entries(inBulk) {
				must(b, theirs.Create(nfnl.Flow(en)))
			}
			flush(b, e)
		}
		perSecond(b, inBulk, "entries")
	})
	b.Run("nfnl", func(b *testing.B) {
		for b.Loop() {
			_, err := e.Table().CreateAll(b.Context(), entries(inBulk))
			must(b, err)
			flush(b, e)
		}
		perSecond(b, inBulk, "entries")
	})
	b.Run("bare", func(b *testing.B) {
		var batches []*nfnl.Batch
		for en := range entries(inBulk) {
			if len(batches) == 0 || batches[len(batches)-1].Len() == 512 {
				batches = append(batches, new(nfnl.Batch))
			}
			batches[len(batches)-1].Add(func(msg []byte) []byte { return nfnl.AppendCreate(msg, en) })
		}
		for b.Loop() {
			for _, batch := range batches {
				must(b, ours.Send(batch, func(_ int, errno unix.Errno) error { return errno }))
			}
			flush(b, e)
		}
		perSecond(b, inBulk, "entries")
	})
}

// BenchmarkTableDump lists 10,000 entries. Most of the time is spent walking the hash that all namespaces share.
func BenchmarkTableDump(b *testing.B) {
	e, theirs, ours := conns(b)
	_, err := e.Table().CreateAll(b.Context(), entries(inBulk))
	must(b, err)
	b.Run("ti-mo", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			list, err := theirs.Dump(nil)
			if err != nil || len(list) != inBulk {
				b.Fatal(len(list), err)
			}
		}
	})
	b.Run("nfnl", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var list []nf.Entry
			err := ours.Dump(nfnl.DumpEntries(nf.Filter{}, false), func(body []byte, at int) error {
				e, err := nfnl.DecodeEntry(body, at)
				list = append(list, e)
				return err
			})
			if err != nil || len(list) != inBulk {
				b.Fatal(len(list), err)
			}
		}
	})
}

// BenchmarkTableEvents reads and decodes queued events, as many as fit into the receive buffer of an unprivileged user.
func BenchmarkTableEvents(b *testing.B) {
	const queued = 250
	e, theirs, _ := conns(b)
	create := func(b *testing.B) {
		_, err := e.Table().CreateAll(b.Context(), entries(queued))
		must(b, err)
	}
	b.Run("ti-mo", func(b *testing.B) {
		events := make(chan conntrack.Event) // without a buffer: what nobody takes stays in the kernel's queue
		must(b, theirs.SetReadBuffer(1<<20))
		failed, err := theirs.Listen(events, 1, []netfilter.NetlinkGroup{netfilter.GroupCTNew})
		must(b, err)
		defer func() { // Close waits for the worker, which waits for someone to take an event
			closed := make(chan struct{})
			go func() {
				defer close(closed)
				_ = theirs.Close()
			}()
			for {
				select {
				case <-events:
				case <-failed:
				case <-closed:
					return
				}
			}
		}()
		for b.Loop() {
			b.StopTimer()
			create(b)
			b.StartTimer()
			for range queued {
				select {
				case <-events:
				case err := <-failed:
					b.Fatal(err)
				}
			}
			flush(b, e)
		}
		perSecond(b, queued, "events")
	})
	b.Run("nfnl", func(b *testing.B) {
		var conn nfnl.Listener
		must(b, e.Do(func() (err error) {
			conn, err = nfnl.Listen(1<<20, nil, unix.NFNLGRP_CONNTRACK_NEW)
			return err
		}))
		read := 0
		pump, err := conn.Pump("events", func(fd int, _ bool) error {
			return nfnl.ReadAll(fd, func() { b.Error("events were lost") }, func(m *mmsg.Buffer, n int) error {
				for i := range n {
					if _, _, _, err := nfnl.DecodeEvent(nfnl.EventBody(m.Payload(i))); err != nil {
						return err
					}
				}
				read += n
				return nil
			})
		})
		must(b, err)
		defer pump.Stop()
		for b.Loop() {
			b.StopTimer()
			pump.Lock()
			create(b)
			b.StartTimer()
			read = 0
			pump.Unlock()
			must(b, pump.Drain())
			if read != queued {
				b.Fatalf("%d events", read)
			}
			flush(b, e)
		}
		perSecond(b, queued, "events")
	})
}
