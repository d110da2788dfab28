package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/odds"
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

// The host under test and the world, as in the article.
var (
	host  = netip.MustParseAddr("192.0.2.1")
	world = netip.MustParseAddr("198.18.0.2")
	web   = packet.Flow{Src: netip.AddrPortFrom(world, 10000), Dst: netip.AddrPortFrom(host, 80)}
)

// lab is a ctexp.Lab with the rules that a row has in it.
type lab struct {
	*ctexp.Lab
	b       *bench
	backend backend
	rules   []rule // that are loaded
	spoiled bool   // loading some has failed
}

func (l *lab) inject(packets iter.Seq[packet.Packet]) {
	_, err := l.Inject(l.b.ctx, packets)
	l.b.must(err)
}

func (l *lab) tally() observe.Tally {
	t, err := l.Observer.Tally(l.b.ctx)
	l.b.must(err)
	return t
}

// input is how many packets came to the input hook.
func input(t observe.Tally) int { return int(t.Packets[nf.FilterInput.Name]) }

// dice are the fields that say what chance did to a full table.
func dice(ts ...observe.Tally) fields {
	evicted, collected := 0, 0
	for _, t := range ts {
		evicted += int(t.Evicted)
		collected += int(t.Collected)
	}
	f := fields{{"evicted", evicted}}
	if collected > 0 {
		f = append(f, field{"collected", collected})
	}
	return f
}

// states returns the states of all flows, one name if they agree, "" if there are none.
func (l *lab) states() string {
	var names []string
	for e, err := range l.Observer.Flows(l.b.ctx, nf.Filter{Proto: nf.TCP}) {
		l.b.must(err)
		if s := e.State.String(); !slices.Contains(names, s) && !isEstablished(e) {
			names = append(names, s)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

// captured counts the packets of the world that the capture saw coming in.
func (l *lab) captured() int {
	n := 0
	for f, err := range l.Observer.Frames(l.b.ctx) {
		l.b.must(err)
		if f.Dir == packet.In && packet.Packet(f.Packet).Tuple().Src.Addr() == world {
			n++
		}
	}
	return n
}

// synacks counts the SYN+ACKs that left from a moment on, those to one port once: some are sent again.
func (l *lab) synacks(from time.Time) map[uint16]layers.TCP {
	seen := map[uint16]layers.TCP{}
	for f, err := range l.Observer.Frames(l.b.ctx) {
		l.b.must(err)
		if f.Dir != packet.Out || f.Time.Before(from) {
			continue
		}
		tcp, ok := f.Decode().Layer(layers.LayerTypeTCP).(*layers.TCP)
		if ok && tcp.SYN && tcp.ACK {
			seen[uint16(tcp.DstPort)] = *tcp
		}
	}
	return seen
}

// established is the i-th of many entries that last: answered connections to another port than the experiment's.
func established(i int) nf.Entry {
	orig := nf.Tuple{Proto: nf.TCP, Src: netip.AddrPortFrom(others, uint16(1+i)), Dst: netip.AddrPortFrom(host, 443)}
	return nf.Entry{
		Orig: orig, Reply: orig.Reverse(), Timeout: 24 * time.Hour, State: nf.Established,
		Status: nf.Confirmed | nf.SeenReply | nf.Assured,
	}
}

// others is where such connections come from.
var others = netip.MustParseAddr("203.0.113.9")

func isEstablished(e nf.Entry) bool { return e.Orig.Src.Addr() == others }

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

// mostFillings bounds how often the table is filled again where the garbage collector has emptied it.
const mostFillings = 4

// fillUnreplied is the half of flood-filled with entries that were never answered. The garbage collector takes those
// away, up to a minute after a new flow was dropped anywhere on the host: so it is asked before all other rows, and
// again where the collector came first.
func fillUnreplied(b *bench) fields {
	for range mostFillings {
		if got, ok := floodUnreplied(b); ok {
			return got
		}
		b.note("the garbage collector had emptied the table, so it was filled again")
	}
	b.must(&nf.UnsupportedError{
		Need: "a table that stays full",
		Hint: "the garbage collector empties it: something else on this host overflows conntrack tables; ask again when it has ended",
	})
	return nil
}

// floodUnreplied fills a table and sends the SYNs. It reports false where the table was not full then, or not to the end.
func floodUnreplied(b *bench) (got fields, ok bool) {
	cfg := plain()
	cfg.Room = netnsenv.Free(0).Unreplied()
	l, err := b.tryOpen(cfg, script...)
	if errors.Is(err, netnsenv.ErrNotFull) {
		return nil, false
	}
	b.must(err)
	defer l.Close() // its memory is not small
	l.inject(packet.SYNs(b.packets, web))
	t, err := l.Observer.Tally(b.ctx)
	if errors.Is(err, observe.ErrFillerLost) {
		return nil, false
	}
	b.must(err)
	// In a full table each of them has either found nothing to evict, or evicted at least one entry.
	if int(t.Evicted+t.Dropped) < b.packets {
		return nil, false
	}
	got = fields{{"mangle", l.counts()[atMangle]}, {"dropped", int(t.Dropped)}, {"evicted", int(t.Evicted)}}
	if most := l.mostUnlucky(b.packets); most > 0 {
		got = append(got, field{"may_be_dropped", most})
	}
	return got, true
}

// mostUnlucky is how many of some packets that find the table full of unreplied flows may find none of them to evict, but once
// in 100,000 runs: none, unless the table has many more buckets than entries.
func (l *lab) mostUnlucky(packets int) int {
	text, err := l.Env.Sysctl("net.netfilter.nf_conntrack_buckets")
	l.b.must(err)
	buckets, err := strconv.Atoi(text)
	l.b.must(err)
	none := math.Exp(-odds.Evictable(l.Env.Room().Filler, buckets))
	return min(packets, odds.AtMost(float64(packets)*none, 1e-5))
}
