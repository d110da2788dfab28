package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// bench is what one experiment works on. Its methods, and those of its labs, have no error results: what goes wrong
// ends the experiment, as a failure ends a test, and the row then has no answer or is unsupported.
type bench struct {
	size
	ctx     context.Context
	backend backend
	before  *outside
	pool    *pool
	early   answer // what row.early came to
	draw    bool   // the page shows where packets went
	labs    []*lab // that were opened

	notes  []string
	lack   error          // a part that could not be had
	ending []func() error // last registered first
}

// bailOut is what ends an experiment.
type bailOut struct{ err error }

// must ends the experiment if err is not nil.
func (b *bench) must(err error) {
	if err != nil {
		panic(bailOut{err})
	}
}

// note adds a remark to the row's why.
func (b *bench) note(format string, args ...any) {
	b.notes = append(b.notes, fmt.Sprintf(format, args...))
}

// lacks says that a part of the row cannot be had, while what was measured stands.
func (b *bench) lacks(err error) {
	if !errors.Is(err, errors.ErrUnsupported) {
		b.must(err)
	}
	b.lack = err
}

func (b *bench) atEnd(f func() error) { b.ending = append(b.ending, f) }

func (b *bench) close() error {
	var errs []error
	for i := len(b.ending) - 1; i >= 0; i-- {
		errs = append(errs, b.ending[i]())
	}
	return errors.Join(errs...)
}

// plain is an Env for most experiments: what comes in is counted at the input hook, before the filter's rules.
func plain() netnsenv.Config {
	return netnsenv.Config{
		NoPath: true,
		Probes: []nf.Probe{nf.FilterInput},
		Sysctls: map[string]string{
			// An answer that is sent again after a second must not count twice.
			"net.ipv4.tcp_synack_retries": "0",
		},
	}
}

// open opens a lab with an empty table, and the rules of the backend in it.
func (b *bench) open(cfg netnsenv.Config, rules ...rule) *lab {
	l, err := b.tryOpen(cfg, rules...)
	b.must(err)
	return l
}

// tryOpen is open where that may go wrong.
func (b *bench) tryOpen(cfg netnsenv.Config, rules ...rule) (*lab, error) {
	b.checkLimit()
	cfg.NoPath = !b.draw
	l := &lab{b: b, backend: b.backend, rules: rules}
	if len(rules) > 0 {
		cfg.Rules = append(cfg.Rules, l.ruleset(rules))
	}
	env, err := netnsenv.Open(b.ctx, cfg)
	if err != nil {
		return nil, err
	}
	b.atEnd(env.Close)
	l.watch(env)
	return l, nil
}

// full returns a lab whose table takes just so many more entries, at most M.
func (b *bench) full(free int, rules ...rule) *lab {
	b.checkLimit()
	env, err := b.pool.take(b.ctx)
	b.must(err)
	l := &lab{b: b, backend: b.backend}
	l.Lab = &ctexp.Lab{Env: env}
	b.atEnd(func() error {
		if l.unload() != nil {
			b.pool.replace(env)
		} else {
			b.pool.give(env)
		}
		return nil
	})
	l.load(rules...)
	l.fill(b.free - free)
	l.watch(env)
	return l
}

// checkLimit checks that a table takes an entry for each packet, unless it is meant not to.
func (b *bench) checkLimit() {
	limit, err := hostLimit()
	b.must(err)
	if limit > 0 && limit < 2*b.packets {
		b.must(&nf.UnsupportedError{
			Need: "a larger table",
			Hint: fmt.Sprintf("the kernel's limit is %d entries: ask with -packets %d or less", limit, limit/2),
		})
	}
}

// fill makes n entries that last and that the kernel never evicts.
func (l *lab) fill(n int) {
	for i := range n {
		l.b.must(l.Env.Table().Create(established(i)))
	}
}

// watch begins to observe an Env.
func (l *lab) watch(env *netnsenv.Env) {
	const some, most = 10_000, 8 // frames of an experiment for each packet
	watched, err := ctexp.Watch(l.b.ctx, env, observe.Config{MaxFrames: most*l.b.packets + some})
	l.b.must(err)
	l.b.atEnd(watched.Observer.Close)
	l.Lab = watched
	l.b.labs = append(l.b.labs, l)
}

// set sets a sysctl of the lab until the end of the experiment.
func (b *bench) set(l *lab, name, value string) {
	old, err := l.Env.Sysctl(name)
	b.must(err)
	b.must(l.Env.SetSysctl(name, value))
	b.atEnd(func() error { return l.Env.SetSysctl(name, old) })
}

// listen listens on port 80 until the end of the experiment, with a queue for half-open connections that is long
// enough, and returns what ends it before.
func (b *bench) listen(l *lab) net.Listener {
	for name, value := range map[string]string{"net.core.somaxconn": "65535", "net.ipv4.tcp_max_syn_backlog": "262144"} {
		if _, err := l.Env.Sysctl(name); !errors.Is(err, fs.ErrNotExist) { // old kernels have some for the host alone
			b.set(l, name, value)
		}
	}
	listener, err := l.Env.Listen(b.ctx, "tcp4", ":80")
	b.must(err)
	b.atEnd(func() error {
		if err := listener.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	b.must(setBacklog(listener, 65535))
	return listener
}
