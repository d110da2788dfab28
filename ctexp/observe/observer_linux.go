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
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/mmsg"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// Observer looks at a network namespace and counts from the moment it was opened. Its methods may be called from any
// goroutine; after Close they return an error for which errors.Is(err, os.ErrClosed) holds.
type Observer struct {
	ns  Namespace
	cfg Config

	mu     sync.RWMutex // held for reading by whoever uses what follows, for writing by Close
	closed bool

	table     *nfnl.Conn
	entries   sysctl
	limit     sysctl
	events    *eventWatch
	capture   *capture // nil with Config.NoFrames
	reasons   *reasonWatch
	noReasons error // why there are none
	trace     *traceWatch
	mib       mibFiles // none without Config.Path

	start   snapshot
	arrived map[nf.Family]uint64 // when it was opened
	live    livelist
	marks   marklog

	dropsMu sync.Mutex
	dropped DropSource // see SetDropSource
}

// Open begins to observe ns as cfg says: half a millisecond. The sockets that it opens keep the namespace alive until
// Close, and a few milliseconds longer, while the kernel lets go of them in the background.
//
// What Tally.Collected counts are events, so that net.netfilter.nf_conntrack_events should be 1 there. Open needs
// CAP_NET_ADMIN over the namespace, and CAP_NET_RAW for the frames, as who made the namespace has. A probe of the Config
// that the namespace was made without is an nf.UnsupportedError.
func Open(ctx context.Context, ns Namespace, cfg Config) (*Observer, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open observer: %w", err)
	}
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("open observer: %w", err)
	}
	o := &Observer{ns: ns, cfg: cfg}
	err := ns.Do(o.dial)
	if err == nil {
		o.start, err = o.read()
	}
	if lost := (lostProbe{}); errors.As(err, &lost) { // it was never there
		err = &nf.UnsupportedError{Need: "the probe " + lost.name, Hint: "the namespace was made without it"}
	}
	if err == nil {
		o.arrived, err = o.readArrived()
	}
	if err != nil {
		return nil, fmt.Errorf("open observer: %w", errors.Join(err, o.Close()))
	}
	return o, nil
}

// dial opens all that must be opened on a thread in the namespace, and can be used from any other then.
func (o *Observer) dial() (err error) {
	if o.entries, err = openSysctl("nf_conntrack_count"); err != nil {
		return err
	}
	if o.limit, err = openSysctl("nf_conntrack_max"); err != nil {
		return err
	}
	if o.table, err = nfnl.Dial(); err != nil {
		return err
	}
	if o.events, err = watchEvents(o.cfg, o.table); err != nil {
		return err
	}
	if o.reasons, err = watchReasons(); errors.Is(err, errors.ErrUnsupported) {
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
	if !o.cfg.NoFrames {
		o.capture, err = startCapture(o.cfg)
	}
	return err
}

// Close ends the observation and all iterators, and waits for the goroutines of the Observer. A second Close does
// nothing.
func (o *Observer) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil
	}
	o.closed = true
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
	o.mib.close()
	if o.table != nil {
		return o.table.Close()
	}
	return nil
}

// use returns what undoes it, after which Close may go on; or an error if the Observer is closed or ctx is done.
func (o *Observer) use(ctx context.Context) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	o.mu.RLock()
	if o.closed {
		o.mu.RUnlock()
		return nil, fmt.Errorf("observer: %w", os.ErrClosed)
	}
	return o.mu.RUnlock, nil
}

// interrupted returns why an iteration must end, if it must.
func (o *Observer) interrupted(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.closed {
		return fmt.Errorf("observer: %w", os.ErrClosed)
	}
	return nil
}

// Drain moves what the kernel has queued for the Observer, frames and events, into memory. Who sends many packets
// calls it now and then, every few hundred, since the kernel's buffers are small for an ordinary user; it costs a
// microsecond when there is nothing. What goes wrong is reported by the methods that need what was lost.
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
	// The frames last: until the kernel stamps them, one counts as old as the reading that found none before it (see
	// stamps), which must be behind all that was read of earlier packets.
	if o.capture != nil {
		_ = o.capture.Drain()
	}
}

// SetDropSource has the Path, the Record and the Timeline tell from now on why the kernel threw packets away, as src says it: what
// that has recorded since it was opened, which should be when the Observer was. Nil does without
// one.
//
// Of a silent host's own packets those are left out that rules have dropped before they had a link: they are what
// Path.Silenced counts.
func (o *Observer) SetDropSource(src DropSource) {
	o.dropsMu.Lock()
	defer o.dropsMu.Unlock()
	o.dropped = src
}

// readDropSource returns the drops, nil if nobody tells of them.
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
	return iterate(ctx, o, what, func() (list []T, incomplete, err error) {
		var nothing L
		list, lost, err := read(ctx)
		if lost != nothing {
			incomplete = fmt.Errorf("%w: %v", errLost, lost)
		}
		return list, incomplete, err
	})
}

// iterate calls read when the iteration begins and yields its list, and then the error incomplete if it is not nil. what
// names the list in every error.
func iterate[T any](ctx context.Context, o *Observer, what string, read func() (list []T, incomplete, err error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		list, incomplete, err := read()
		if err != nil {
			yield(zero, fmt.Errorf("%s: %w", what, err))
			return
		}
		for _, v := range list {
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

// readDatagrams calls add for each datagram that is queued at a netlink socket, with the time at which it was read, and overrun
// where the buffer was full and some are missing.
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

// sysctl is an open file of /proc/sys with one number in it. Whose namespace it speaks of was decided when it was
// opened (net/sysctl_net.c, net_ctl_root), so that it can be read from any thread.
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

// readSysctl must be called on a thread in the namespace.
func readSysctl(name string) (string, error) {
	b, err := os.ReadFile("/proc/sys/net/netfilter/" + name)
	return string(bytes.TrimSpace(b)), err
}

// linkNames caches the names of links by their index, each as it was when it was first needed.
type linkNames map[int32]string

// name returns the name of a link in the namespace of the socket fd: "if7" if the link no longer exists.
func (n linkNames) name(fd int, index int32) string {
	if name, ok := n[index]; ok {
		return name
	}
	ifr, err := unix.NewIfreq("")
	if err == nil {
		ifr.SetUint32(uint32(index))
		err = unix.IoctlIfreq(fd, unix.SIOCGIFNAME, ifr)
	}
	name := fmt.Sprintf("if%d", index)
	if err == nil {
		name = ifr.Name()
	}
	n[index] = name
	return name
}
