//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/ti-mo/conntrack"
	"github.com/ti-mo/netfilter"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/mmsg"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// listen compares how fast events are read that wait in the receive buffer: as many as fit into that of an ordinary user.
func listen(b *bench) contender {
	const queued = 250
	e := openEnv(b, false)
	events, failed := timoListen(b, e)
	var conn nfnl.Listener
	b.must(e.Do(func() (err error) {
		conn, err = nfnl.Listen(1<<20, nil, unix.NFNLGRP_CONNTRACK_NEW)
		return err
	}))
	var read atomic.Int64
	pump, err := conn.Pump("events", func(fd int, _ bool) error {
		return nfnl.ReadAll(fd, func() {}, func(m *mmsg.Buffer, n int) error {
			for i := range n {
				if _, _, _, err := nfnl.DecodeEvent(nfnl.EventBody(m.Payload(i))); err != nil {
					return err
				}
			}
			read.Add(int64(n))
			return nil
		})
	})
	b.must(err)
	unread, held := false, false
	b.later(func() {
		if held {
			pump.Unlock()
		}
		pump.Stop()
	})
	taken := func() {
		for range queued {
			select {
			case <-events:
			case err := <-failed:
				b.must(err)
			}
		}
	}
	return contender{
		before: func() {
			emptied(b, e)()
			if unread { // by ti-mo, what ours has read
				taken()
			}
			if held { // and what ti-mo has read
				pump.Unlock()
				b.must(pump.Drain())
			}
			pump.Lock()
			held = true
			read.Store(0)
			create(b, e.Table(), queued)
			unread = true
		},
		ours: func() amount {
			pump.Unlock()
			held = false
			b.must(pump.Drain())
			if n := read.Load(); n != queued {
				b.must(fmt.Errorf("%d events, want %d", n, queued))
			}
			return done(queued)
		},
		theirs: func() amount {
			taken()
			unread = false
			return done(queued)
		},
	}
}

func timoListen(b *bench, e *netnsenv.Env) (chan conntrack.Event, chan error) {
	conn := dialTimo(b, e)
	b.must(conn.SetReadBuffer(1 << 20))
	events := make(chan conntrack.Event) // without a buffer: what nobody takes stays in the kernel's queue
	failed, err := conn.Listen(events, 1, []netfilter.NetlinkGroup{netfilter.GroupCTNew})
	b.must(err)
	b.later(func() { // Close waits for the worker, which waits for someone to take an event
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			_ = conn.Close()
		}()
		for {
			select {
			case <-events:
			case <-failed:
			case <-closed:
				return
			}
		}
	})
	return events, failed
}

func eventsKept(b *bench) contender {
	return contender{ours: func() amount {
		lab, err := ctexp.Open(b.ctx, netnsenv.Config{Silent: true, NoPath: true, NoFrames: true})
		b.must(err)
		defer lab.Close()
		create(b, lab.Env.Table().WatchedBy(netnsenv.Watcher{Drain: lab.Observer.Drain}), many)
		kept := 0
		for _, err := range lab.Observer.Events(b.ctx) {
			if err == nil {
				kept++
			}
		}
		return amount{n: float64(kept) / many}
	}}
}

// recorded returns a function that floods a Lab of its own, opened with cfg, for before to open.
func recorded(b *bench, cfg netnsenv.Config, watch observe.Config, during func(*netnsenv.Env) (end func())) (before func(), flood func() amount) {
	var lab *ctexp.Lab
	end := func() {}
	closeLab := func() {
		end()
		if lab != nil {
			_ = lab.Close()
		}
		lab, end = nil, func() {}
	}
	b.later(closeLab)
	before = func() {
		closeLab()
		cfg.Silent, cfg.NoPath, cfg.NoReasons, cfg.Rules = true, true, true, []netnsenv.Ruleset{netnsenv.NFT(dropInRaw)}
		e, err := netnsenv.Open(b.ctx, cfg)
		b.must(err)
		watch.NoEvents = true
		lab, err = ctexp.Watch(b.ctx, e, watch)
		b.must(err)
		if during != nil {
			end = during(e)
		}
	}
	return before, func() amount {
		f, err := lab.Flood(b.ctx, floodOf(packets, 1))
		b.must(err)
		return done(f.Sent)
	}
}

// two is a contender of two such Labs.
func two(b *bench, ours, theirs func() (func(), func() amount)) contender {
	openOurs, floodOurs := ours()
	openTheirs, floodTheirs := theirs()
	return contender{ours: floodOurs, theirs: floodTheirs, before: func() {
		openOurs()
		openTheirs()
	}}
}

func againstTcpdump(b *bench) contender {
	needGroups(b)
	file := filepath.Join(tempDir(b), "flood.pcap")
	return two(b,
		func() (func(), func() amount) {
			return recorded(b, netnsenv.Config{}, observe.Config{Ring: 8 << 20}, nil)
		},
		func() (func(), func() amount) {
			return recorded(b, netnsenv.Config{}, observe.Config{NoFrames: true}, func(e *netnsenv.Env) func() {
				cmd := e.Command(b.ctx, "tcpdump", "-i", "tun0", "-n", "-Z", "root", "-w", file)
				b.must(cmd.Start())
				_, err := cmd.AwaitLine(b.ctx, "listening on")
				b.must(err)
				return func() {
					_ = cmd.Process.Signal(os.Interrupt)
					_ = cmd.Wait()
				}
			})
		})
}

func withCapture(b *bench) contender {
	return two(b,
		func() (func(), func() amount) { return recorded(b, netnsenv.Config{}, observe.Config{}, nil) },
		func() (func(), func() amount) {
			return recorded(b, netnsenv.Config{}, observe.Config{NoFrames: true}, nil)
		})
}

func openAndClose(b *bench) contender {
	return contender{ours: func() amount {
		e, err := netnsenv.Open(b.ctx, netnsenv.Config{})
		b.must(err)
		b.must(e.Close())
		return done(1)
	}}
}

// experiment is the article's: 10 SYNs, counted before and behind conntrack, and the table.
func experiment(b *bench) amount {
	lab, err := ctexp.Open(b.ctx, netnsenv.Config{Silent: true, Probes: []nf.Probe{nf.RawPrerouting, nf.ManglePrerouting}})
	b.must(err)
	defer lab.Close()
	_, err = lab.Inject(b.ctx, packet.SYNs(10, web))
	b.must(err)
	t, err := lab.Observer.Tally(b.ctx)
	b.must(err)
	var table strings.Builder
	for e, err := range lab.Observer.Flows(b.ctx, nf.Filter{}) {
		b.must(err)
		fmt.Fprintln(&table, e)
	}
	if n := strings.Count(table.String(), "\n"); n != 10 || t.Packets["mangle/prerouting"] != 10 {
		b.must(fmt.Errorf("%d flows, %v", n, t))
	}
	return done(1)
}

func reporting(b *bench) contender {
	lab, err := ctexp.Open(b.ctx, netnsenv.Config{Silent: true, Probes: []nf.Probe{nf.RawPrerouting}})
	b.must(err)
	b.later(func() { _ = lab.Close() })
	_, err = lab.Flood(b.ctx, inject.Flood{
		Template: packet.SYN(web), N: many, Vary: []inject.Vary{{Field: inject.VarySrcPort, Count: many / 2}, {Field: inject.VarySrc, Count: 2}},
	})
	b.must(err)
	dir := tempDir(b)
	return contender{ours: func() amount {
		_, err := lab.WriteReport(b.ctx, dir, "much")
		b.must(err)
		_, err = io.WriteString(io.Discard, lab.Report(b.ctx))
		b.must(err)
		return done(2) // a failing test reads once and writes both
	}}
}

func tempDir(b *bench) string {
	dir, err := os.MkdirTemp("", "bench-")
	b.must(err)
	b.later(func() { _ = os.RemoveAll(dir) })
	return dir
}

func tempFile(b *bench, text string) string {
	file := filepath.Join(tempDir(b), "file")
	b.must(os.WriteFile(file, []byte(text), 0o600))
	return file
}
