package observe

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// linkStats reads the statistics of links by rtnetlink, which takes some ten microseconds. A nil linkStats has none.
type linkStats struct {
	fd int

	mu  sync.Mutex // held during a dump
	buf []byte
	seq uint32
}

// openLinkStats must be called on a thread in the namespace.
func openLinkStats() (*linkStats, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	return &linkStats{fd: fd, buf: make([]byte, 32<<10)}, nil // the kernel's dumps are no larger (netlink_dump)
}

func (s *linkStats) close() {
	if s != nil {
		_ = unix.Close(s.fd)
	}
}

// Sizes and offsets of struct if_stats_msg, struct tcmsg, struct rtnl_link_stats64 and struct gnet_stats_queue, and
// numbers of attributes (include/uapi/linux/if_link.h, rtnetlink.h, pkt_sched.h and gen_stats.h).
const (
	statsMsgSize, statsMsgIndex, statsMsgFilter = 12, 4, 8
	statsLink64, statsLink64Filter              = 1, 1 // IFLA_STATS_LINK_64
	stats64TxDropped                            = 7 * 8

	tcMsgSize, tcMsgIndex, tcMsgParent = 20, 4, 12
	tcRoot                             = 0xffffffff // TC_H_ROOT
	tcaKind, tcaStats2, tcaStatsQueue  = 1, 7, 3
	queueDrops                         = 2 * 4
)

// drops returns how many packets each link has dropped on their way out since it was created, sorted. A veth counts in
// tx_dropped what its peer did not take (drivers/net/veth.c, veth_xmit), a tun what found its queue full
// (drivers/net/tun.c, tun_net_xmit). The far ends of our own links are omitted: Fence reports what they drop.
func (s *linkStats) drops() ([]LinkDrop, error) {
	if s == nil {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var drops []LinkDrop
	names := linkNames{} // not kept, because links may be renamed
	add := func(index int32, d LinkDrop) {
		if d.Link = names.name(s.fd, index); d.Packets > 0 && !strings.HasPrefix(d.Link, ours.FarPrefix) {
			drops = append(drops, d)
		}
	}
	request := make([]byte, statsMsgSize)
	binary.NativeEndian.PutUint32(request[statsMsgFilter:], statsLink64Filter)
	err := s.dump(unix.RTM_GETSTATS, request, func(m []byte) error {
		var dropped uint64
		err := nfnl.Attributes(m[statsMsgSize:], statsMsgSize, func(typ uint16, _ int, v []byte) error {
			if typ == statsLink64 && len(v) >= stats64TxDropped+8 {
				dropped = binary.NativeEndian.Uint64(v[stats64TxDropped:])
			}
			return nil
		})
		if dropped > 0 {
			add(int32(binary.NativeEndian.Uint32(m[statsMsgIndex:])), LinkDrop{Kind: CauseFarEnd, Counter: "tx_dropped", Packets: dropped})
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the statistics of links: %w", err)
	}
	err = s.dump(unix.RTM_GETQDISC, make([]byte, tcMsgSize), func(m []byte) error {
		if binary.NativeEndian.Uint32(m[tcMsgParent:]) != tcRoot {
			return nil // a root counts what its classes drop, too
		}
		kind, dropped, err := decodeQdisc(m[tcMsgSize:])
		if dropped > 0 {
			add(int32(binary.NativeEndian.Uint32(m[tcMsgIndex:])), LinkDrop{Kind: CauseQdisc, Counter: kind + " dropped", Packets: dropped})
		}
		return err
	})
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) { // a kernel without CONFIG_NET_SCHED has none
		return nil, fmt.Errorf("read the statistics of queueing disciplines: %w", err)
	}
	slices.SortFunc(drops, func(a, b LinkDrop) int { return cmp.Or(cmp.Compare(a.Link, b.Link), cmp.Compare(a.Counter, b.Counter)) })
	return drops, nil
}

// decodeQdisc returns the kind of a queueing discipline, and how many packets it has dropped.
func decodeQdisc(attributes []byte) (kind string, dropped uint64, err error) {
	err = nfnl.Attributes(attributes, tcMsgSize, func(typ uint16, at int, v []byte) error {
		switch typ {
		case tcaKind:
			kind = nfnl.CString(v)
		case tcaStats2:
			return nfnl.Attributes(v, at, func(typ uint16, _ int, v []byte) error {
				if typ == tcaStatsQueue && len(v) >= queueDrops+4 {
					dropped = uint64(binary.NativeEndian.Uint32(v[queueDrops:]))
				}
				return nil
			})
		}
		return nil
	})
	return kind, dropped, err
}

// dump calls each for all objects of a kind; request and objects begin with the same structure.
func (s *linkStats) dump(typ uint16, request []byte, each func(m []byte) error) error {
	s.seq++
	b := make([]byte, unix.NLMSG_HDRLEN, unix.NLMSG_HDRLEN+len(request))
	*(*unix.NlMsghdr)(unsafe.Pointer(&b[0])) = unix.NlMsghdr{
		Len: uint32(unix.NLMSG_HDRLEN + len(request)), Type: typ, Flags: unix.NLM_F_REQUEST | unix.NLM_F_DUMP, Seq: s.seq,
	}
	if err := unix.Sendto(s.fd, append(b, request...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	var failed error // of a message; the others are read, so that the next dump begins anew
	for {
		n, _, err := unix.Recvfrom(s.fd, s.buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		for b := s.buf[:n]; len(b) >= unix.NLMSG_HDRLEN; {
			h := *(*unix.NlMsghdr)(unsafe.Pointer(&b[0]))
			if h.Len < unix.NLMSG_HDRLEN || int(h.Len) > len(b) {
				return fmt.Errorf("netlink message of %d bytes in %d", h.Len, len(b))
			}
			body := b[unix.NLMSG_HDRLEN:h.Len]
			b = b[min(len(b), int(h.Len+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1)):]
			switch {
			case h.Seq != s.seq:
			case h.Type == unix.NLMSG_DONE:
				return failed
			case h.Type == unix.NLMSG_ERROR:
				if len(body) < 4 {
					return fmt.Errorf("netlink error of %d bytes", len(body))
				}
				return unix.Errno(-int32(binary.NativeEndian.Uint32(body)))
			case failed != nil:
			case len(body) < len(request):
				failed = fmt.Errorf("netlink message of %d bytes, want at least %d", len(body), len(request))
			default:
				failed = each(body)
			}
		}
	}
}
