package observe

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ctnl"
)

// eventWatch hears the events of the conntrack table. It counts the entries that left unasked and, unless the Config
// has NoEvents, keeps all events.
type eventWatch struct {
	*pump
	collected collected // under pump.mu
	overruns  int       // under pump.mu
	congested bool      // under pump.mu: events are missing behind those that are still in the receive buffer
	log       *eventlog // nil: only the ends of entries are heard
	missing   error     // why there are no events, whatever log is
}

// forcedBuffer holds 200,000 events where the host's root asks for it; others get what net.core.rmem_max allows. It is a
// bound: memory is used only for what waits to be read.
const forcedBuffer = 128 << 20

// watchEvents must be called on a thread in the namespace.
func watchEvents(cfg Config, table *ctnl.Conn) (*eventWatch, error) {
	w := &eventWatch{collected: collected{table: table}, missing: eventsAreOn()}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open socket for conntrack events: %w", err)
	}
	if cfg.NoEvents {
		w.missing = &nf.UnsupportedError{Need: "events", Hint: "the Observer was opened with NoEvents"}
		err = filterAsked(fd)
	} else {
		w.log = &eventlog{limit: cfg.maxEvents()}
		err = filterAged(fd)
	}
	if err == nil {
		err = subscribe(fd, cfg)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("subscribe to conntrack events: %w", err)
	}
	if w.pump, err = startPump(fd, "conntrack events", w.read); err != nil {
		return nil, err
	}
	return w, nil
}

// eventsAreOn looks whether the kernel makes events at all.
func eventsAreOn() error {
	switch v, err := readSysctl("nf_conntrack_events"); {
	case err != nil:
		return &nf.UnsupportedError{Need: "events", Hint: "a kernel with CONFIG_NF_CONNTRACK_EVENTS", Err: err}
	case v == "0":
		return &nf.UnsupportedError{Need: "events", Hint: "net.netfilter.nf_conntrack_events is 0 in the namespace; 1 asks for them"}
	}
	return nil
}

func subscribe(fd int, cfg Config) error {
	groups := []int{unix.NFNLGRP_CONNTRACK_DESTROY}
	if !cfg.NoEvents {
		groups = append(groups, unix.NFNLGRP_CONNTRACK_NEW, unix.NFNLGRP_CONNTRACK_UPDATE,
			unix.NFNLGRP_CONNTRACK_EXP_NEW, unix.NFNLGRP_CONNTRACK_EXP_DESTROY)
	}
	size := cfg.EventBuffer
	if size == 0 {
		size = forcedBuffer
	}
	err := errors.Join(enlarge(fd, size), unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	for _, g := range groups {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g))
	}
	return err
}

// filterAsked lets only that through which nobody has asked for: the rest would take up room in the receive buffer.
func filterAsked(fd int) error {
	// What was deleted by netlink has the port of who asked for it in the header, what ended otherwise has 0.
	return attachFilter(fd,
		bpf.LoadAbsolute{Off: 12, Size: 4}, // nlmsg_pid
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipFalse: 1},
		bpf.RetConstant{Val: 0xffffffff},
		bpf.RetConstant{Val: 0},
	)
}

// read takes what is queued.
func (w *eventWatch) read(fd int, _ bool) error {
	b := batches.Get().(*batch)
	defer batches.Put(b)
	for {
		n, err := b.receive(fd)
		switch {
		case err == unix.EAGAIN:
			w.emptied()
			return nil
		case err == unix.ENOBUFS:
			// It is told first, but the kernel adds nothing more until the buffer is empty
			// (net/netlink/af_netlink.c, NETLINK_S_CONGESTED): the gap is behind what is still there.
			w.overruns++
			w.congested = true
			continue
		case err != nil:
			return fmt.Errorf("receive conntrack events: %w", err)
		}
		for i := range n {
			if err := w.one(b.payload(i)); err != nil {
				return err
			}
		}
		if w.log != nil {
			w.log.add(time.Now(), n, b.payload)
		}
		if n < batchSize {
			w.emptied()
		}
	}
}

// emptied is told when the receive buffer was empty.
func (w *eventWatch) emptied() {
	if w.congested && w.log != nil {
		w.log.overrun(time.Now())
	}
	w.congested = false
}

// one looks at a message for its header's sake and for what it says about an end.
func (w *eventWatch) one(msg []byte) error {
	kind, ok, err := kindOf(msg)
	if err != nil {
		return fmt.Errorf("receive conntrack events: %w", err)
	}
	if ok && kind == EventDestroy && !askedFor(msg) {
		return w.collected.add(msg)
	}
	return nil
}

// unasked returns how many entries have left unasked until now.
func (w *eventWatch) unasked() (uint64, error) {
	if err := w.drain(); err != nil {
		return 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.collected.settle(); err != nil {
		return 0, err
	}
	if w.overruns > 0 {
		return 0, fmt.Errorf("%w: %v", ErrEventsLost, lostEvents{overruns: w.overruns})
	}
	return w.collected.count, nil
}

// stop ends the reading, and all that wait for events.
func (w *eventWatch) stop() {
	w.pump.stop()
	if w.log != nil {
		w.log.close()
	}
}
