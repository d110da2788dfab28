package observe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/google/nftables"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// Observer looks at a network namespace and counts from the moment it was opened. Its methods may be called from any
// goroutine; after Close they return an error for which errors.Is(err, os.ErrClosed) holds.
type Observer struct {
	ns  Namespace
	cfg Config

	mu     sync.RWMutex // held for reading by whoever uses what follows, for writing by Close
	closed bool

	nftMu     sync.Mutex // a connection answers one question at a time
	nft       *nftables.Conn
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
	dropped DropSource // see ExplainBy
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
	if o.nft, err = nftables.New(nftables.AsLasting()); err != nil {
		return fmt.Errorf("open nftables connection: %w", err)
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
	var errs []error
	if o.table != nil {
		errs = append(errs, o.table.Close())
	}
	if o.nft != nil {
		errs = append(errs, o.nft.CloseLasting())
	}
	return errors.Join(errs...)
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
