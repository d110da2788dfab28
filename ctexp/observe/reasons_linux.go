package observe

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// reasonWatch keeps what conntrack says about packets.
type reasonWatch struct {
	*pump
	links map[int32]string // under pump.mu
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
	return recording(ctx, o, "reasons", ErrReasonsLost, o.explained)
}

func (o *Observer) explained(ctx context.Context) ([]Reason, lostReasons, error) {
	release, err := o.use(ctx)
	if err != nil {
		return nil, lostReasons{}, err
	}
	defer release()
	if o.noReasons != nil {
		return nil, lostReasons{}, o.noReasons
	}
	if err := o.reasons.drain(); err != nil {
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
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open socket for NFLOG: %w", err)
	}
	if err := bindNFLog(fd); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	w := &reasonWatch{links: map[int32]string{}, log: reasonlog{limit: maxReasons}}
	if w.pump, err = startPump(fd, "NFLOG", w.read); err != nil {
		return nil, err
	}
	return w, nil
}

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

// bindNFLog makes fd the reader of NFLOG group 0, where conntrack's reasons go (net/netfilter/nfnetlink_log.c,
// default_loginfo), of whole packets and numbered.
func bindNFLog(fd int) error {
	const copyPacket, flagSeq = 2, 1 // NFULNL_COPY_PACKET, NFULNL_CFG_F_SEQ
	if err := errors.Join(enlarge(fd, reasonBuffer), unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})); err != nil {
		return fmt.Errorf("set up socket for NFLOG: %w", err)
	}
	var err error
	for _, group := range nflogGroups {
		err = configure(fd, group, unix.NLM_F_ACK,
			netlinkAttr(nfulaCfgCmd, nflogBind), netlinkAttr(nfulaCfgMode, 0, 0, 0xff, 0xff, copyPacket, 0), netlinkAttr(nfulaCfgFlags, 0, flagSeq))
		if err == nil {
			err = acknowledged(fd)
		}
		if err != nil {
			break
		}
	}
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EBUSY):
		return &nf.UnsupportedError{Need: "NFLOG group 0", Hint: "there can be one reader of conntrack's reasons: another Observer, ulogd or tcpdump -i nflog", Err: err}
	case err != nil:
		return fmt.Errorf("bind NFLOG group 0: %w", err)
	}
	return nil
}

// nflogGroups are that of the reasons, and that of all INVALID packets.
var nflogGroups = [...]uint16{0, ours.InvalidGroup}

// configure sends a message about a group. The kernel is done with it when it returns.
func configure(fd int, group, flags uint16, attrs ...[]byte) error {
	msg := append(make([]byte, nlmsgHeader), unix.AF_UNSPEC, unix.NFNETLINK_V0, byte(group>>8), byte(group))
	for _, a := range attrs {
		msg = append(msg, a...)
	}
	binary.NativeEndian.PutUint32(msg, uint32(len(msg)))
	binary.NativeEndian.PutUint16(msg[4:], msgLogConfig)
	binary.NativeEndian.PutUint16(msg[6:], unix.NLM_F_REQUEST|flags)
	return unix.Sendto(fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// acknowledged returns what the kernel has answered.
func acknowledged(fd int) error {
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return err
	}
	return messages(answer[:n], func(typ uint16, at int, body []byte) error {
		if typ != nlmsgError || len(body) < 4 {
			return fmt.Errorf("netlink answer of type %d at offset %d: want an acknowledgement", typ, at)
		}
		if code := int32(binary.NativeEndian.Uint32(body)); code != 0 {
			return unix.Errno(-code)
		}
		return nil
	})
}

// stop lets go of the group at once, for the next Observer, and ends the reading.
func (w *reasonWatch) stop() {
	_ = w.control(func(fd int) error {
		for _, group := range nflogGroups {
			_ = configure(fd, group, 0, netlinkAttr(nfulaCfgCmd, nflogUnbind))
		}
		return nil
	})
	w.pump.stop()
}

func netlinkAttr(typ uint16, v ...byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(nlaHeader+len(v)))
	b = append(binary.NativeEndian.AppendUint16(b, typ), v...)
	return append(b, make([]byte, (4-len(b)%4)%4)...)
}

// read keeps what is queued. What the buffer could not hold is told by the numbers of the packets.
func (w *reasonWatch) read(fd int, _ bool) error {
	link := func(index int32) string { return w.link(fd, index) }
	return receiveAll(fd, "from NFLOG", w.log.overrun, func(m []byte, now time.Time) error { return w.log.add(m, now, link) })
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
