package observe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/mmsg"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/queues"
)

// Observer observes a network namespace and counts from the moment it is opened. Its methods are safe for concurrent
// use. After Close they return an error that wraps os.ErrClosed.
type Observer struct {
	ns  Namespace
	cfg Config

	mu     sync.RWMutex // held for reading by methods that use the fields below, for writing by Close
	closed atomic.Bool  // written with mu held

	table     *nfnl.Conn
	lists     *nfnl.Lists
	proc      procTable
	entries   sysctl
	limit     sysctl
	events    *eventWatch
	capture   *capture // nil with Config.NoFrames
	reasons   *reasonWatch
	noReasons error // why reasons is nil
	trace     *traceWatch
	texts     ruleTexts // of traced rules
	mib       mibFiles  // empty without Config.Path
	links     *queues.Links

	seal     seal
	holder   Holder                              // the Namespace, if packets may wait in it
	unwatch  func()                              // ends the calls of look
	acted    func() uint64                       // how often something was done that could be observed; nil if that is not known
	output   func() iter.Seq2[time.Time, string] // of the programs in the namespace; nil if that is not known
	anyAct   atomic.Bool                         // AllowVacuous
	id       uint64                              // of the Observer in this process, for Reading
	readings atomic.Uint64                       // so far
	aged     atomic.Uint64                       // entries that NoteAged has reported
	buckets  int                                 // of the kernel's hash table

	start   snapshot
	onLinks linkCounts // at Open
	egress  []LinkDrop // those of links at Open
	live    livelist
	marks   marklog

	dropsMu sync.Mutex
	dropped DropSource // see SetDropSource
}

// Open starts to observe ns as described by cfg, in about half a millisecond. The sockets that it opens keep the
// namespace alive until Close, and a few milliseconds longer while the kernel frees them in the background.
//
// Tally.Collected is counted from events, so net.netfilter.nf_conntrack_events should be 1 in the namespace. Open
// requires CAP_NET_ADMIN over the namespace, and CAP_NET_RAW for the capture; whoever created the namespace has both.
// If the namespace was created without a probe of cfg, the error is ErrOff.
func Open(ctx context.Context, ns Namespace, cfg Config) (*Observer, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open observer: %w", err)
	}
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("open observer: %w", err)
	}
	o := &Observer{ns: ns, cfg: cfg, id: observers.Add(1), unwatch: func() {}}
	o.holder, _ = ns.(Holder)
	err := ns.Do(o.dial)
	if err == nil {
		o.start, err = o.read()
	}
	if lost := (lostProbe{}); errors.As(err, &lost) { // it never existed
		err = turnedOff(fmt.Sprintf("probe %q", lost.name), "the namespace was made without it; add it to netnsenv.Config.Probes")
	}
	if err == nil {
		o.onLinks, err = o.readOnLinks()
	}
	if err == nil {
		o.egress, err = linkDrops(o.links)
	}
	if err != nil {
		return nil, fmt.Errorf("open observer: %w", errors.Join(err, o.Close()))
	}
	if p, ok := ns.(Outputter); ok {
		o.output = p.Output
	}
	if w, ok := ns.(Watched); ok {
		do, cancel := w.OnChange(o.look)
		o.ns, o.unwatch = quiet{ns, do}, cancel
		before := w.Acted()
		o.acted = func() uint64 { return w.Acted() - before }
	}
	if o.capture != nil {
		o.capture.mayGrow(o.ns.Do, cfg.Filler > 0) // a table is filled to be flooded
	}
	_ = o.checkLinks() // a probe may be about a link that is created later
	return o, nil
}

// Earned returns ErrVacuous if nothing was sent, dialled or run since the Observer was opened: then that there are no
// packets, entries or events means nothing. It returns nil if that is not known, because the Namespace is not Watched.
func (o *Observer) Earned() error {
	if o.acted == nil || o.anyAct.Load() {
		return nil
	}
	acts := o.acted()
	if acts == 0 {
		return ErrVacuous
	}
	arrived, known, err := o.arrivedOfIPv6()
	if err != nil || !known || arrived < acts { // so that others are not asked more
		return err
	}
	off, err := o.discardsIPv6(arrived)
	if err == nil && off {
		err = fmt.Errorf("%w: packets of IPv6 alone, which the host discards, because no link has an address of it (%s +%d)", ErrVacuous, discards6, arrived)
	}
	return err
}

// IPv6Off reports whether the host has neither processed nor sent packets of IPv6, because it is disabled: no link has or had an
// address of it, and each packet of it that arrived on a link was discarded. Without probes of the path, or after a reset of their
// counters, this is not known, and false, as it is beside a bridge or a flowtable.
func (o *Observer) IPv6Off(ctx context.Context) (bool, error) {
	release, err := o.use(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	arrived, known, err := o.arrivedOfIPv6()
	if err != nil || !known {
		return false, err
	}
	return o.discardsIPv6(arrived)
}

// arrivedOfIPv6 returns how many packets of IPv6 arrived on links since the Observer was opened, if the host has no address of it.
func (o *Observer) arrivedOfIPv6() (n uint64, known bool, err error) {
	if len(o.cfg.Path) == 0 || o.hasIPv6() {
		return 0, false, nil
	}
	now, err := o.readOnLinks()
	if errors.Is(err, ErrCountersReset) {
		return 0, false, nil
	}
	return saturatingSub(now.arrived[nf.IPv6], o.onLinks.arrived[nf.IPv6]), err == nil, err
}

// discardsIPv6 reports whether a host without an address of IPv6 has discarded all packets of it that arrived, because it is disabled.
func (o *Observer) discardsIPv6(arrived uint64) (bool, error) {
	mib := map[string]uint64{}
	if err := o.addIPv6Discards(mib); err != nil || mib[discards6] < arrived {
		return false, err
	}
	bypass, _, err := o.beside()
	return !bypass, err
}

// AllowVacuous says that absence is meant to be asserted although nothing was sent, dialled or run. From now on Earned
// returns nil, and Tally.Diff compares as usual.
func (o *Observer) AllowVacuous() { o.anyAct.Store(true) }

// VacuousAllowed reports whether AllowVacuous was called.
func (o *Observer) VacuousAllowed() bool { return o.anyAct.Load() }

// CheckLinks returns ErrNoLink if the namespace does not have one of the links, and did not have it when it was looked at.
// Empty names are ignored.
func (o *Observer) CheckLinks(ctx context.Context, names ...string) error {
	release, err := o.use(ctx)
	if err != nil {
		return err
	}
	defer release()
	for _, name := range names {
		if name != "" && !o.hasLink(name) {
			return fmt.Errorf("%w: %q", ErrNoLink, name)
		}
	}
	return nil
}

// CheckLimit returns ErrLimitChanged if nf_conntrack_max is not, or was not, that of the Config.
func (o *Observer) CheckLimit(ctx context.Context) error {
	release, err := o.use(ctx)
	if err != nil {
		return err
	}
	defer release()
	return o.checkLimit()
}

// observers numbers the Observers of this process, for Reading.
var observers atomic.Uint64

// nextReading numbers what the Observer returns.
func (o *Observer) nextReading() Reading { return Reading{o.id, o.readings.Add(1)} }

// quiet is a Namespace in which the Observer does what changes nothing.
type quiet struct {
	Namespace
	do func(func() error) error
}

// Do implements Namespace.
func (q quiet) Do(f func() error) error { return q.do(f) }

// dial opens what must be opened on a thread in the namespace and works on any thread afterwards.
func (o *Observer) dial() (err error) {
	if o.entries, err = openSysctl("nf_conntrack_count"); err != nil {
		return err
	}
	if o.limit, err = openSysctl("nf_conntrack_max"); err != nil {
		return err
	}
	if err := o.seal.open(); err != nil {
		return err
	}
	buckets, err := readSysctl("nf_conntrack_buckets")
	if err != nil {
		return err
	}
	o.buckets, _ = strconv.Atoi(buckets) // unknown: then chance explains no eviction
	if o.table, err = nfnl.Dial(); err != nil {
		return err
	}
	o.proc.open()
	o.lists = nfnl.NewLists(func(f func() error) error { return o.ns.Do(f) })
	if err = o.lists.Open(); err != nil {
		return err
	}
	if o.events, err = watchEvents(o.cfg, o.table, o.wasFull); err != nil {
		return err
	}
	if o.reasons, err = watchReasons(); errors.Is(err, errors.ErrUnsupported) || errors.Is(err, ErrOff) {
		o.noReasons, err = err, nil
	}
	if err != nil {
		return err
	}
	if o.trace, err = watchTrace(); err != nil {
		return err
	}
	if o.mib, err = openMIB(o.cfg.Path); err != nil {
		return err
	}
	if len(o.cfg.Path) > 0 {
		if o.links, err = queues.OpenLinks(); err != nil {
			return err
		}
	}
	if !o.cfg.NoFrames {
		if c, ok := o.ns.(interface{ CopiesFragments() bool }); ok && !c.CopiesFragments() && o.cfg.Ring == 0 {
			o.cfg.Ring = usualRing
		}
		o.capture, err = startCapture(o.cfg)
	}
	return err
}

// Close ends the observation and all iterators, and waits for the goroutines of the Observer. A second Close does
// nothing.
func (o *Observer) Close() error {
	o.unwatch()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed.Swap(true) {
		return nil
	}
	if o.capture != nil {
		o.capture.stop()
	}
	if o.events != nil {
		o.events.stop()
	}
	if o.reasons != nil {
		o.reasons.stop()
	}
	if o.trace != nil {
		o.trace.Stop()
	}
	o.entries.close()
	o.limit.close()
	o.seal.close()
	o.mib.close()
	_ = o.links.Close()
	o.proc.close()
	if o.lists != nil {
		_ = o.lists.Close()
	}
	if o.table != nil {
		return o.table.Close()
	}
	return nil
}

// use keeps Close from running until release is called. It returns an error if the Observer is closed or ctx is done.
func (o *Observer) use(ctx context.Context) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	o.mu.RLock()
	if o.closed.Load() {
		o.mu.RUnlock()
		return nil, fmt.Errorf("observer: %w", os.ErrClosed)
	}
	return o.mu.RUnlock, nil
}

// interrupted returns an error if ctx is done or the Observer is closed.
func (o *Observer) interrupted(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if o.closed.Load() {
		return fmt.Errorf("observer: %w", os.ErrClosed)
	}
	return nil
}

// Drain moves the frames and messages that the kernel queued for the Observer into memory. Call it every few hundred
// packets while sending many, because the kernel's buffers are small for an ordinary user. It takes a microsecond if
// nothing is queued. Frames in a ring are left to the goroutine that reads it, unless half of it is full. Errors are
// reported by the methods that need the missing data.
func (o *Observer) Drain() {
	release, err := o.use(context.Background())
	if err != nil {
		return
	}
	defer release()
	_ = o.events.Drain()
	if o.reasons != nil {
		_ = o.reasons.Drain()
	}
	_ = o.trace.Drain()
	// The frames come last: until the kernel time-stamps them, a frame counts as old as the read that found none
	// before it (see stamps), which must be later than everything that was read about earlier packets.
	if o.capture != nil {
		_ = o.capture.relieve()
	}
}

// SetDropSource makes Path, Record and Timeline report from now on the packets that the kernel dropped and why, as
// recorded by src since it was opened. Open src together with the Observer. A nil src disables it.
//
// Packets of a silent host itself that rules dropped before they had a link are omitted: Path.Silenced counts them.
func (o *Observer) SetDropSource(src DropSource) {
	o.dropsMu.Lock()
	defer o.dropsMu.Unlock()
	o.dropped = src
}

// readDropSource returns the recorded drops; nil without a DropSource.
func (o *Observer) readDropSource(ctx context.Context) ([]nf.Dropped, error) {
	o.dropsMu.Lock()
	src := o.dropped
	o.dropsMu.Unlock()
	if src == nil {
		return nil, nil
	}
	drops := []nf.Dropped{}
	for d, err := range src.Drops(ctx) {
		if err != nil {
			return drops, fmt.Errorf("drops: %w", err)
		}
		if silenced := o.cfg.Silent && d.Link == "" && d.Reason == reasonNetfilter; !silenced {
			drops = append(drops, d)
		}
	}
	return drops, nil
}

// recording yields the recording that read returns. If lost is not zero, the iteration ends in errLost.
func recording[T any, L comparable](ctx context.Context, o *Observer, what string, errLost error, read func(context.Context) ([]T, L, error)) iter.Seq2[T, error] {
	return recordingEach(ctx, o, what, errLost, func(ctx context.Context) (iter.Seq[T], L, error) {
		list, lost, err := read(ctx)
		return slices.Values(list), lost, err
	})
}

// recordingEach is recording for what is made one by one.
func recordingEach[T any, L comparable](ctx context.Context, o *Observer, what string, errLost error, read func(context.Context) (iter.Seq[T], L, error)) iter.Seq2[T, error] {
	return iterate(ctx, o, what, func() (all iter.Seq[T], incomplete, err error) {
		var nothing L
		all, lost, err := read(ctx)
		if lost != nothing {
			incomplete = fmt.Errorf("%w: %v", errLost, lost)
		}
		return all, incomplete, err
	})
}

// iterate calls read when the iteration begins and yields what it returns, and then the error incomplete if it is not nil.
// Every error begins with what.
func iterate[T any](ctx context.Context, o *Observer, what string, read func() (all iter.Seq[T], incomplete, err error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		all, incomplete, err := read()
		if err != nil {
			yield(zero, fmt.Errorf("%s: %w", what, err))
			return
		}
		for v := range all {
			if err := o.interrupted(ctx); err != nil {
				yield(zero, fmt.Errorf("%s: %w", what, err))
				return
			}
			if !yield(v, nil) {
				return
			}
		}
		if incomplete != nil {
			yield(zero, fmt.Errorf("%s: %w", what, incomplete))
		}
	}
}

// readDatagrams calls add with each datagram queued at a netlink socket and the time at which it was read, and
// overrun if datagrams are missing because the buffer was full.
func readDatagrams(fd int, what string, overrun func(), add func(datagram []byte, now time.Time) error) error {
	err := nfnl.ReadAll(fd, overrun, func(b *mmsg.Buffer, n int) error {
		now := time.Now()
		for i := range n {
			if err := add(b.Payload(i), now); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("receive %s: %w", what, err)
	}
	return nil
}

// sysctl is an open file of /proc/sys that contains a number. Its namespace is that of the thread which opened it
// (net/sysctl_net.c, net_ctl_root), so it can be read on any thread.
type sysctl struct{ file *os.File }

// openSysctl must be called on a thread in the namespace.
func openSysctl(name string) (sysctl, error) {
	f, err := os.Open("/proc/sys/net/netfilter/" + name)
	if errors.Is(err, fs.ErrNotExist) {
		return sysctl{}, &nf.UnsupportedError{
			Need: "nf_conntrack", Hint: "load the module: modprobe nf_conntrack", Err: err,
		}
	}
	if err != nil {
		return sysctl{}, err
	}
	return sysctl{f}, nil
}

func (s sysctl) read() (int, error) {
	var b [32]byte
	n, err := s.file.ReadAt(b[:], 0)
	if err != nil && err != io.EOF {
		return 0, err
	}
	v, err := strconv.Atoi(string(bytes.TrimSpace(b[:n])))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", s.file.Name(), err)
	}
	return v, nil
}

func (s sysctl) close() {
	if s.file != nil {
		_ = s.file.Close()
	}
}

// readSysctl reads a sysctl of net.netfilter. It must be called on a thread in the namespace.
func readSysctl(name string) (string, error) {
	b, err := os.ReadFile("/proc/sys/net/netfilter/" + name)
	return string(bytes.TrimSpace(b)), err
}
