package dropreason

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

var order = binary.NativeEndian

// Watcher records the packets that are dropped in a namespace, until Close. It is safe for concurrent use.
type Watcher struct {
	ring, lost *ebpf.Map
	prog       *ebpf.Program
	hook       link.Link
	reader     *ringbuf.Reader
	names      names
	started    time.Time // wall clock time at which CLOCK_MONOTONIC was zero
	reading    sync.WaitGroup

	once     sync.Once
	closeErr error

	flush   sync.Mutex // held during a flush
	flushed chan error // result of a flush: nil, or the error that ended the reading

	mu    sync.Mutex
	drops []nf.Dropped
	over  uint64 // drops beyond maxDrops
	bad   error  // an error of reading or decoding

	ended  bool   // Close was called
	unread uint64 // drops until then for which the ring was full
}

const (
	ringSize = 8 << 20 // bytes: 45,000 drops until the reader is woken
	maxDrops = 250_000 // drops that are kept
)

// Open starts to record drops in the namespace of ns, such as a *netnsenv.Env or an *observe.Place. It takes 20 ms,
// because it reads the kernel's BTF. Without the host's root, or if the kernel lacks something, the error is an
// nf.UnsupportedError whose Need is "BPF".
func Open(ns interface{ FD() int }) (*Watcher, error) { return openWith(ns, ringSize) }

func openWith(ns interface{ FD() int }, ring uint32) (*Watcher, error) {
	var st unix.Stat_t
	if err := unix.Fstat(ns.FD(), &st); err != nil {
		return nil, fmt.Errorf("dropreason: the namespace: %w", err)
	}
	w := &Watcher{flushed: make(chan error)}
	if err := w.open(uint32(st.Ino), ring); err != nil {
		err = errors.Join(err, w.Close())
		if errors.Is(err, unix.EPERM) || errors.Is(err, ebpf.ErrNotSupported) {
			return nil, &nf.UnsupportedError{Need: "BPF", Hint: "run as the host's root, with netnsenv.EnterWith(netnsenv.Entry{RealRoot: true})", Err: err}
		}
		return nil, fmt.Errorf("dropreason: %w", err)
	}
	return w, nil
}

func (w *Watcher) open(inode, ring uint32) (err error) {
	var l layout
	if l, w.names, err = readLayout(); err != nil {
		return err
	}
	if w.started, err = startOfClock(); err != nil {
		return err
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		return fmt.Errorf("remove the limit of locked memory: %w", err)
	}
	if w.ring, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: ring}); err != nil {
		return fmt.Errorf("create a BPF ring: %w", err)
	}
	if w.lost, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}); err != nil {
		return fmt.Errorf("create a BPF map: %w", err)
	}
	if w.prog, err = ebpf.NewProgram(program(l, inode, w.ring, w.lost)); err != nil {
		return fmt.Errorf("load a BPF program: %w", err)
	}
	if w.reader, err = ringbuf.NewReader(w.ring); err != nil {
		return fmt.Errorf("read a BPF ring: %w", err)
	}
	w.reading.Go(w.read)
	w.hook, err = link.AttachRawTracepoint(link.RawTracepointOptions{Name: "kfree_skb", Program: w.prog})
	if err != nil {
		return fmt.Errorf("attach a BPF program to kfree_skb: %w", err)
	}
	return nil
}

// startOfClock returns the wall clock time at which CLOCK_MONOTONIC was zero.
func startOfClock() (time.Time, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return time.Time{}, fmt.Errorf("read the clock: %w", err)
	}
	return time.Now().Round(0).Add(-time.Duration(now.Nano())), nil
}

// Close ends the recording and waits for the reader. Drops still returns what was recorded. A second Close does nothing.
func (w *Watcher) Close() error {
	w.once.Do(func() { w.closeErr = w.close() })
	return w.closeErr
}

func (w *Watcher) close() error {
	var errs []error
	if w.hook != nil {
		errs = append(errs, w.hook.Close())
		last, err := w.count()
		w.mu.Lock()
		w.ended, w.unread = true, last
		w.mu.Unlock()
		errs = append(errs, err)
	}
	if w.reader != nil {
		errs = append(errs, w.reader.Close())
	}
	w.reading.Wait()
	if w.prog != nil {
		errs = append(errs, w.prog.Close())
	}
	for _, m := range []*ebpf.Map{w.ring, w.lost} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	return errors.Join(errs...)
}

// ErrLost is returned by Drops if it could not record all dropped packets.
var ErrLost = errors.New("reasons of dropped packets were lost")

// Drops returns the packets that were dropped between Open and the start of the iteration, in the kernel's order,
// except that drops on different CPUs may be swapped. After an Inject it includes all drops of the injected packets.
//
// If drops are missing, the iteration ends with ErrLost and their number. After Close it returns the drops until then.
func (w *Watcher) Drops(ctx context.Context) iter.Seq2[nf.Dropped, error] {
	return func(yield func(nf.Dropped, error) bool) {
		drops, err := w.recorded(ctx)
		for _, d := range drops {
			if !yield(d, nil) {
				return
			}
		}
		if err != nil {
			yield(nf.Dropped{}, fmt.Errorf("dropreason: %w", err))
		}
	}
}

func (w *Watcher) recorded(ctx context.Context) ([]nf.Dropped, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	unread, err := w.count()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		unread, err = w.unread, nil
	}
	if err != nil {
		return nil, err
	}
	drops, bad := w.drops[:len(w.drops):len(w.drops)], w.bad
	if unread+w.over > 0 {
		bad = errors.Join(fmt.Errorf("%w: %d because the ring was full, %d beyond the first %d", ErrLost, unread, w.over, maxDrops), bad)
	}
	return drops, bad
}

// count reads all records in the ring and returns the number of drops for which the ring was full.
func (w *Watcher) count() (unread uint64, err error) {
	if err := w.drain(); err != nil {
		return 0, err
	}
	if err := w.lost.Lookup(uint32(0), &unread); err != nil {
		return 0, fmt.Errorf("read a BPF map: %w", err)
	}
	return unread, nil
}

// drain waits until all records in the ring have been read.
func (w *Watcher) drain() error {
	w.flush.Lock()
	defer w.flush.Unlock()
	if err := w.reader.Flush(); err != nil {
		return fmt.Errorf("read a BPF ring: %w", err)
	}
	return <-w.flushed
}

// read keeps records until the reader is closed. Then it ends waiting and later flushes.
func (w *Watcher) read() {
	var rec ringbuf.Record
	for {
		switch err := w.reader.ReadInto(&rec); {
		case err == nil:
			w.keep(rec.RawSample)
		case errors.Is(err, ringbuf.ErrFlushed):
			w.flushed <- nil
		default:
			w.end(err)
			return
		}
	}
}

// end records why the reading has ended, and ends all flushes.
func (w *Watcher) end(err error) {
	if !errors.Is(err, os.ErrClosed) {
		w.mu.Lock()
		w.bad = fmt.Errorf("read a BPF ring: %w", err)
		w.mu.Unlock()
	}
	close(w.flushed)
}

func (w *Watcher) keep(record []byte) {
	e, err := decode(record)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err != nil:
		w.bad = err
	case len(w.drops) >= maxDrops:
		w.over++
	default:
		w.drops = append(w.drops, nf.Dropped{
			Time: w.started.Add(time.Duration(e.monotonic)), Reason: w.names.name(e.reason), Function: kernelSymbols().name(e.location - 1),
			Link: e.link, Packet: bytes.Clone(e.packet), Length: int(e.length),
		})
	}
}
