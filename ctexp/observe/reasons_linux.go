package observe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/links"
	"github.com/ctexp/go-ctexp/internal/mmsg"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// Reasons returns why conntrack called packets INVALID, from Open until the iteration begins, in the kernel's order.
// ReasonsOf assigns them to frames. Not every INVALID packet has a reason.
//
// If reasons are missing, the iteration ends in ErrReasonsLost. If conntrack did not log reasons in the namespace
// when the Observer was opened, the error is ErrOff; if another program reads them, it is an nf.UnsupportedError.
func (o *Observer) Reasons(ctx context.Context) iter.Seq2[Reason, error] {
	return recording(ctx, o, "reasons", ErrReasonsLost, o.readReasons)
}

func (o *Observer) readReasons(ctx context.Context) ([]Reason, lostReasons, error) {
	release, err := o.use(ctx)
	if err != nil {
		return nil, lostReasons{}, err
	}
	defer release()
	if o.noReasons != nil {
		return nil, lostReasons{}, o.noReasons
	}
	if err := o.whole(reasonSwitches); err != nil {
		return nil, lostReasons{}, err
	}
	if err := o.reasons.Drain(); err != nil {
		return nil, lostReasons{}, err
	}
	reasons, lost := o.reasons.log.snapshot()
	return reasons, lost, nil
}

// Classes returns what conntrack called packets, from Open until the iteration begins, in the kernel's order: records with
// Time, Link, Dir (packet.In or, for the host's own packets, packet.Out), Packet and Class. The Packet is as conntrack saw it:
// reassembled, and before any NAT. There are none while the namespace does not log them; see netnsenv.Env.Classify.
//
// If classes are missing, the iteration ends in ErrClassesLost. If the Observer cannot read them, the errors are those of
// Reasons.
func (o *Observer) Classes(ctx context.Context) iter.Seq2[packet.Record, error] {
	return recording(ctx, o, "classes", ErrClassesLost, o.readClasses)
}

func (o *Observer) readClasses(ctx context.Context) ([]packet.Record, uint64, error) {
	release, err := o.use(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer release()
	if o.noReasons != nil {
		return nil, 0, o.noReasons
	}
	if err := o.reasons.Drain(); err != nil {
		return nil, 0, err
	}
	classes, lost := o.reasons.log.classifiedPackets()
	return classes, lost, nil
}

// reasonWatch records what conntrack logs about packets.
type reasonWatch struct {
	*mmsg.Pump
	conn  nfnl.Listener // read by the Pump
	links links.Names   // guarded by the Pump's lock
	log   reasonlog
}

// reasonBuffer holds several thousand small packets if the host's rmem_max allows it.
const reasonBuffer = 8 << 20

// nflogGroups are the group of the reasons (net/netfilter/nfnetlink_log.c, default_loginfo) and that of all INVALID
// packets.
var nflogGroups = []uint16{0, ours.InvalidGroup}

// watchReasons must be called on a thread in the namespace. It returns ErrOff or an nf.UnsupportedError if the namespace cannot
// provide reasons.
func watchReasons() (*reasonWatch, error) {
	if err := reasonsAreLogged(); err != nil {
		return nil, err
	}
	conn, err := nfnl.Listen(reasonBuffer, nil)
	if err != nil {
		return nil, fmt.Errorf("open socket for NFLOG: %w", err)
	}
	err = conn.BindLog(nflogGroups...)
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EBUSY):
		err = &nf.UnsupportedError{Need: "NFLOG group 0", Hint: "only one program can read it, and another Observer, ulogd or tcpdump -i nflog does", Err: err}
	case err != nil:
		err = fmt.Errorf("bind NFLOG group 0: %w", err)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	w := &reasonWatch{conn: conn, links: links.Names{}, log: reasonlog{limit: maxReasons}}
	if w.Pump, err = conn.Pump("NFLOG", w.read); err != nil {
		return nil, err
	}
	return w, nil
}

// reasonsAreLogged returns an error unless conntrack logs reasons, and to NFLOG.
func reasonsAreLogged() error {
	const need = "reasons of conntrack"
	on, err := readSysctl("nf_conntrack_log_invalid")
	if err == nil && on == "0" {
		return turnedOff(need, "net.netfilter.nf_conntrack_log_invalid is 0 in the namespace; set it to 255, and nf_log to nfnetlink_log")
	}
	var to [2]string
	if err == nil {
		to[0], err = readSysctl("nf_log/2") // AF_INET
	}
	if err == nil {
		to[1], err = readSysctl("nf_log/10") // AF_INET6
	}
	if errors.Is(err, fs.ErrNotExist) {
		return &nf.UnsupportedError{Need: need, Hint: "a kernel with CONFIG_NETFILTER_NETLINK_LOG, and nf_conntrack loaded", Err: err}
	}
	if err != nil {
		return err
	}
	if to[0] != "nfnetlink_log" && to[1] != "nfnetlink_log" {
		return turnedOff(need, fmt.Sprintf("net.netfilter.nf_log.2 is %s in the namespace; set it to nfnetlink_log", to[0]))
	}
	return nil
}

// read records all queued messages. Sequence numbers show what the buffer could not hold.
func (w *reasonWatch) read(fd int, _ bool) error {
	link := func(index int32) string { return w.links.Name(fd, index) }
	return readDatagrams(fd, "from NFLOG", w.log.overrun, func(m []byte, now time.Time) error { return w.log.add(m, now, link) })
}

// stop unbinds the groups at once, for the next Observer, and ends the reading.
func (w *reasonWatch) stop() {
	_ = w.conn.UnbindLog(nflogGroups...)
	w.Pump.Stop()
}
