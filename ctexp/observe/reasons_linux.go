package observe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/mmsg"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// reasonWatch keeps what conntrack says about packets.
type reasonWatch struct {
	*mmsg.Pump
	conn  nfnl.Listener    // that the Pump empties
	links map[int32]string // with the Pump locked
	log   reasonlog
}

// reasonBuffer holds some thousands of small packets where the host's rmem_max allows it.
const reasonBuffer = 8 << 20

// Reasons returns why conntrack called packets INVALID since the Observer was opened until the iteration begins, in the
// kernel's order; see ReasonsOf for the frames that they belong to. Not every INVALID packet has a reason.
//
// Where some are missing the iteration ends in ErrReasonsLost. In a namespace where conntrack was not asked for reasons
// when the Observer was opened, or where somebody else reads them, the error is an nf.UnsupportedError.
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
	if err := o.reasons.Drain(); err != nil {
		return nil, lostReasons{}, err
	}
	reasons, lost := o.reasons.log.snapshot()
	return reasons, lost, nil
}

// watchReasons must be called on a thread in the namespace. What the namespace lacks is an nf.UnsupportedError.
func watchReasons() (*reasonWatch, error) {
	if err := reasonsAreAskedFor(); err != nil {
		return nil, err
	}
	conn, err := nfnl.Listen(reasonBuffer, nil)
	if err != nil {
		return nil, fmt.Errorf("open socket for NFLOG: %w", err)
	}
	err = conn.BindLog(nflogGroups...)
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EBUSY):
		err = &nf.UnsupportedError{Need: "NFLOG group 0", Hint: "there can be one reader of conntrack's reasons: another Observer, ulogd or tcpdump -i nflog", Err: err}
	case err != nil:
		err = fmt.Errorf("bind NFLOG group 0: %w", err)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	w := &reasonWatch{conn: conn, links: map[int32]string{}, log: reasonlog{limit: maxReasons}}
	if w.Pump, err = conn.Pump("NFLOG", w.read); err != nil {
		return nil, err
	}
	return w, nil
}

// nflogGroups are that of the reasons (net/netfilter/nfnetlink_log.c, default_loginfo), and that of all INVALID packets.
var nflogGroups = []uint16{0, ours.InvalidGroup}

// reasonsAreAskedFor looks whether conntrack gives reasons, and where they go.
func reasonsAreAskedFor() error {
	const need = "reasons of conntrack"
	on, err := readSysctl("nf_conntrack_log_invalid")
	if err == nil && on == "0" {
		return &nf.UnsupportedError{Need: need, Hint: "net.netfilter.nf_conntrack_log_invalid is 0 in the namespace; 255 asks for them, behind nf_log"}
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
		return &nf.UnsupportedError{Need: need, Hint: fmt.Sprintf("net.netfilter.nf_log.2 is %s in the namespace; nfnetlink_log hands them out", to[0])}
	}
	return nil
}

// readSysctl must be called on a thread in the namespace.
func readSysctl(name string) (string, error) {
	b, err := os.ReadFile("/proc/sys/net/netfilter/" + name)
	return string(bytes.TrimSpace(b)), err
}

// stop lets go of the group at once, for the next Observer, and ends the reading.
func (w *reasonWatch) stop() {
	_ = w.conn.UnbindLog(nflogGroups...)
	w.Pump.Stop()
}

// read keeps what is queued. What the buffer could not hold is told by the numbers of the packets.
func (w *reasonWatch) read(fd int, _ bool) error {
	link := func(index int32) string { return w.link(fd, index) }
	return readDatagrams(fd, "from NFLOG", w.log.overrun, func(m []byte, now time.Time) error { return w.log.add(m, now, link) })
}

// link returns the name of a link, as it was when its first packet was read.
func (w *reasonWatch) link(fd int, index int32) string {
	name, ok := w.links[index]
	if !ok {
		name = linkName(fd, index)
		w.links[index] = name
	}
	return name
}

// recording yields what read has of a recording, which is called when the iteration begins. Where some of it is missing,
// as a lost that is not zero says, the iteration ends in errLost. Every error names what was recorded.
func recording[T any, L comparable](ctx context.Context, o *Observer, what string, errLost error, read func(context.Context) ([]T, L, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		var nothing L
		all, lost, err := read(ctx)
		if err != nil {
			yield(zero, fmt.Errorf("%s: %w", what, err))
			return
		}
		for _, v := range all {
			if err := o.interrupted(ctx); err != nil {
				yield(zero, fmt.Errorf("%s: %w", what, err))
				return
			}
			if !yield(v, nil) {
				return
			}
		}
		if lost != nothing {
			yield(zero, fmt.Errorf("%s: %w: %v", what, errLost, lost))
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
