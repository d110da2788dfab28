package netnsenv

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ctexp/go-ctexp/internal/links"
	"github.com/ctexp/go-ctexp/internal/queues"
)

// watch tells Observers when the namespace may have changed, and counts what the experiment has done in it.
type watch struct {
	acted atomic.Uint64 // functions and programs run, sockets opened that may send, entries created
	shift atomic.Uint64 // what is added to Acted, modulo 2^64, for acts of other Envs while they were not, or are no longer, joined

	mu    sync.Mutex
	looks []*func()
}

// OnChange calls look before and after each Do, each program of Command, each loading of rules and each SetSysctl, until
// cancel is called. look must not call Do. The returned do runs a function on the Env's thread without calling look: it
// is for what only observes.
func (e *Env) OnChange(look func()) (do func(func() error) error, cancel func()) {
	w := &e.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	at := &look
	w.looks = append(w.looks, at)
	return e.do, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.looks = slices.DeleteFunc(slices.Clone(w.looks), func(l *func()) bool { return l == at })
	}
}

// look calls what was given to OnChange.
func (w *watch) look() {
	w.mu.Lock()
	looks := w.looks
	w.mu.Unlock()
	for _, look := range looks {
		(*look)()
	}
}

// changes is called before a change of the namespace, and its result after it.
func (e *Env) changes() (done func()) {
	e.watch.look()
	return e.watch.look
}

// acts is changes for what may also send packets.
func (e *Env) acts() (done func()) {
	e.watch.acted.Add(1)
	return e.changes()
}

// Acted returns a number that grows with all that may cause packets, entries or events in the namespace: packets written
// to a link, programs and functions run (Command, Do), sockets opened that may send (Dial, ListenPacket), entries
// created (Table), and the same in the Envs that are joined to this one, as long as they are. While it stays the same, nothing was
// there to observe.
func (e *Env) Acted() uint64 {
	n := e.watch.shift.Load()
	for _, joined := range e.joined() {
		n += joined.ownActs()
	}
	return n
}

// rejoining is held while it changes which Envs are joined.
var rejoining sync.Mutex

// rejoin changes which Envs are joined to a and b, and leaves what Acted of each has returned: what one has done before it was joined
// is nothing that the others could have observed, and what it did while it was joined remains done.
func rejoin(a, b *Env, change func()) {
	rejoining.Lock()
	defer rejoining.Unlock()
	all := a.joined()
	for _, e := range b.joined() {
		if !slices.Contains(all, e) {
			all = append(all, e)
		}
	}
	groups, own := make([][]*Env, len(all)), map[*Env]uint64{}
	for i, e := range all {
		groups[i], own[e] = e.joined(), e.ownActs()
	}
	change()
	for i, e := range all {
		group := e.joined()
		for _, other := range all {
			was, is := slices.Contains(groups[i], other), slices.Contains(group, other)
			switch {
			case is && !was:
				e.watch.shift.Add(-own[other])
			case was && !is:
				e.watch.shift.Add(other.ownActs())
			}
		}
	}
}

func (e *Env) ownActs() uint64 {
	n := e.watch.acted.Load()
	for _, l := range e.links {
		n += l.written.Load()
	}
	return n
}

// Backlog returns the qdiscs and NFQUEUEs of the namespace that hold packets. These packets are under way: neither has the
// host sent them, nor are they lost.
func (e *Env) Backlog() ([]Backlog, error) { return e.backlog(nil) }

// backlog is Backlog without some NFQUEUEs.
func (e *Env) backlog(except []uint16) (all []Backlog, err error) {
	var qdiscs []queues.Qdisc
	var nfqueues []queues.NFQueue
	err = e.do(func() (err error) {
		if err := e.openStats(); err != nil {
			return err
		}
		if qdiscs, err = e.stats.Qdiscs(); err != nil {
			return err
		}
		nfqueues, err = queues.NFQueues()
		return err
	})
	if err != nil {
		return nil, prefixed(err)
	}
	names := links.Names{}
	for _, q := range qdiscs {
		if q.Held > 0 {
			all = append(all, Backlog{By: q.Kind, Link: names.Name(e.stats.FD(), q.Link), Packets: int(q.Held)})
		}
	}
	for _, q := range nfqueues {
		if q.Waiting > 0 && !slices.Contains(except, q.Number) {
			all = append(all, Backlog{By: fmt.Sprintf("NFQUEUE %d", q.Number), Packets: int(q.Waiting)})
		}
	}
	return all, nil
}

// openStats opens e.stats. It must be called on the thread.
func (e *Env) openStats() (err error) {
	if e.stats == nil {
		if e.stats, err = queues.OpenLinks(); err == nil {
			e.onClose(e.stats)
		}
	}
	return err
}

// takers names what may take packets that come in on the link before its ingress hook: ", where there are now filters of tc (u32)".
func (l *Link) takers() (s string, err error) {
	err = l.env.do(func() error {
		if err := l.env.openStats(); err != nil {
			return err
		}
		all, err := l.env.stats.Filters()
		names := links.Names{}
		for _, f := range all {
			if f.Egress || names.Name(l.env.stats.FD(), f.Link) != l.cfg.Name {
				continue
			}
			if s != "" {
				s += " and"
			} else {
				s = ", where there are now"
			}
			s += " " + f.String()
		}
		return err
	})
	return s, err
}

// Backlog returns how many packets that the host may send on the link are held back by its qdisc, or by an NFQUEUE, from
// which they may go anywhere, and by what. It does not count those in a Queue of the Env, which the experiment itself
// holds.
func (l *Link) Backlog() (packets int, by string, err error) {
	var own []uint16
	for _, q := range l.env.openQueues() {
		own = append(own, q.numbers...)
	}
	all, err := l.env.backlog(own)
	if err != nil {
		return 0, "", err
	}
	var what []string
	for _, b := range all {
		if b.Link == l.cfg.Name || b.Link == "" {
			packets += b.Packets
			what = append(what, b.String())
		}
	}
	return packets, strings.Join(what, ", "), nil
}

// quiet is the Env for what observes it or loads rules: its Do does not call look.
type quiet struct{ *Env }

// Do implements ruleset.Namespace.
func (q quiet) Do(f func() error) error { return q.do(f) }
