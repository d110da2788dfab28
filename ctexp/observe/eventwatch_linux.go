package observe

import (
	"cmp"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/mmsg"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// eventWatch hears the events of the conntrack table. It counts the entries that left unasked and, unless the Config
// has NoEvents, keeps all events.
type eventWatch struct {
	*mmsg.Pump
	collected collected // with the Pump locked
	overruns  int       // likewise
	congested bool      // likewise: events are missing behind those that are still in the receive buffer
	log       *eventlog // nil: only the ends of entries are heard
	missing   error     // why there are no events, whatever log is
}

// forcedBuffer holds 200,000 events where the host's root asks for it; others get what net.core.rmem_max allows. It is a
// bound: memory is used only for what waits to be read.
const forcedBuffer = 128 << 20

// watchEvents must be called on a thread in the namespace.
func watchEvents(cfg Config, table *nfnl.Conn) (*eventWatch, error) {
	w := &eventWatch{collected: collected{table: table}, missing: eventsAreOn()}
	groups, filter := []uint32{unix.NFNLGRP_CONNTRACK_DESTROY}, nfnl.PassUnasked()
	if cfg.NoEvents {
		w.missing = &nf.UnsupportedError{Need: "events", Hint: "the Observer was opened with NoEvents"}
	} else {
		w.log = &eventlog{limit: cfg.maxEvents()}
		groups = append(groups, unix.NFNLGRP_CONNTRACK_NEW, unix.NFNLGRP_CONNTRACK_UPDATE,
			unix.NFNLGRP_CONNTRACK_EXP_NEW, unix.NFNLGRP_CONNTRACK_EXP_DESTROY)
		filter = nfnl.DropAged()
	}
	conn, err := nfnl.Listen(cmp.Or(cfg.EventBuffer, forcedBuffer), filter, groups...)
	if err != nil {
		return nil, fmt.Errorf("subscribe to conntrack events: %w", err)
	}
	if w.Pump, err = conn.Pump("conntrack events", w.read); err != nil {
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

// read takes what is queued.
func (w *eventWatch) read(fd int, _ bool) error {
	err := nfnl.ReadAll(fd, w.overrun, w.some)
	if err != nil {
		return fmt.Errorf("receive conntrack events: %w", err)
	}
	w.emptied()
	return nil
}

// overrun is told when the receive buffer was full. The kernel tells it first, but adds nothing more until the buffer is
// empty (net/netlink/af_netlink.c, NETLINK_S_CONGESTED): the gap is behind what is still there.
func (w *eventWatch) overrun() {
	w.overruns++
	w.congested = true
}

// some takes n events.
func (w *eventWatch) some(b *mmsg.Buffer, n int) error {
	for i := range n {
		if err := w.one(b.Payload(i)); err != nil {
			return err
		}
	}
	if w.log != nil {
		w.log.add(time.Now(), n, b.Payload)
	}
	if n < mmsg.BufferLen {
		w.emptied()
	}
	return nil
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
	kind, asked, err := nfnl.KindOf(msg)
	if err == nil && kind == nfnl.Destroy && asked == 0 {
		err = w.collected.add(msg)
	}
	return err
}

// unasked returns how many entries have left unasked until now.
func (w *eventWatch) unasked() (uint64, error) {
	if err := w.Drain(); err != nil {
		return 0, err
	}
	w.Lock()
	defer w.Unlock()
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
	w.Pump.Stop()
	if w.log != nil {
		w.log.close()
	}
}
