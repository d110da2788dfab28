package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// pool keeps Envs with a full table, which has room for just M entries. To fill one takes half a second, to arm it again
// less than a millisecond: the experiment's own entries are deleted, and the filler stays.
type pool struct {
	ctx   context.Context
	free  int
	draw  bool // where packets go is counted
	ready chan filled

	mu      sync.Mutex
	opening sync.WaitGroup
	closed  bool
}

type filled struct {
	env *netnsenv.Env
	err error
}

// newPool makes an empty pool.
func newPool(ctx context.Context, o options) *pool {
	return &pool{ctx: ctx, free: o.size.free, draw: o.html != "", ready: make(chan filled, most)}
}

// most is how many Envs a row needs at a time.
const most = 2

// start begins to fill as many tables as the rows need.
func (p *pool) start(rows []row) {
	need := 0
	for _, r := range rows {
		switch {
		case r.id == perNamespace:
			need = most
		case r.full:
			need = max(need, 1)
		}
	}
	for range need {
		p.open()
	}
}

// open fills one more table, in the background.
func (p *pool) open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.opening.Go(func() {
		cfg := plain()
		cfg.Room, cfg.NoPath = netnsenv.Free(p.free), !p.draw
		env, err := netnsenv.Open(p.ctx, cfg)
		p.ready <- filled{env, err}
	})
}

// take waits for an Env with just M entries free.
func (p *pool) take(ctx context.Context) (*netnsenv.Env, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case f := <-p.ready:
			if f.err != nil {
				p.ready <- f // whoever comes next will not fare better
				return nil, f.err
			}
			if isArmed(f.env) == nil {
				return f.env, nil
			}
			p.replace(f.env)
		}
	}
}

// give takes an Env back. One that cannot be armed again is replaced.
func (p *pool) give(env *netnsenv.Env) {
	_, err := env.Table().Flush(p.ctx, nf.Filter{})
	if errors.Join(err, isArmed(env)) != nil {
		p.replace(env)
		return
	}
	p.ready <- filled{env: env}
}

func (p *pool) replace(env *netnsenv.Env) {
	_ = env.Close() // it has failed already
	p.open()
}

// isArmed checks that the table has the filler in it and nothing else.
func isArmed(env *netnsenv.Env) error {
	count, err := env.Sysctl("net.netfilter.nf_conntrack_count")
	if err != nil {
		return err
	}
	room := env.Room()
	if n, err := strconv.Atoi(count); err != nil || n != room.Filler {
		return fmt.Errorf("the table has %s entries, its filler %d", count, room.Filler)
	}
	return nil
}

// close closes all Envs.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.opening.Wait()
	for {
		select {
		case f := <-p.ready:
			if f.env != nil {
				_ = f.env.Close() // nothing of it is needed any more
			}
		default:
			return
		}
	}
}
