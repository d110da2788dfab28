// Package queues reads what the queues of a network namespace hold and drop: its links, their queueing disciplines (qdiscs),
// and NFQUEUEs.
package queues

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// Links reads the statistics of links by rtnetlink, which takes some ten microseconds. It is safe for concurrent use. A nil
// Links has none.
type Links struct {
	fd int

	mu  sync.Mutex // held during a dump
	buf []byte
	seq uint32
}

// OpenLinks opens the statistics of the namespace of the calling thread. They can be read on any thread.
func OpenLinks() (*Links, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	return &Links{fd: fd, buf: make([]byte, 32<<10)}, nil // the kernel's dumps are no larger (netlink_dump)
}

// Close closes the socket. Nothing else may be called at the same time or later.
func (s *Links) Close() error {
	if s == nil {
		return nil
	}
	return unix.Close(s.fd)
}

// FD returns the socket's descriptor.
func (s *Links) FD() int { return s.fd }

// Sizes and offsets of struct if_stats_msg, struct ifinfomsg, struct tcmsg, struct rtnl_link_stats64 and struct gnet_stats_queue, and
// numbers of attributes (include/uapi/linux/if_link.h, rtnetlink.h, pkt_sched.h and gen_stats.h).
const (
	statsMsgSize, statsMsgIndex, statsMsgFilter = 12, 4, 8
	statsLink64, statsLink64Filter              = 1, 1 // IFLA_STATS_LINK_64
	stats64TxDropped                            = 7 * 8
	stats64OtherHost                            = 24 * 8 // rx_otherhost_dropped, since Linux 5.19

	ifInfoSize, ifInfoType, ifInfoIndex = 16, 2, 4

	tcMsgSize, tcMsgIndex, tcMsgParent = 20, 4, 12
	tcRoot                             = 0xffffffff // TC_H_ROOT
	tcaKind, tcaStats2, tcaStatsQueue  = 1, 7, 3
	queueDrops                         = 2 * 4
)

// TxDropped is how many packets a link has dropped on their way out since it was created. A veth counts what its peer did
// not take (drivers/net/veth.c, veth_xmit), a tun what found its queue full (drivers/net/tun.c, tun_net_xmit).
type TxDropped struct {
	Link    int32 // its index
	Packets uint64
}

// TxDropped returns the links that have dropped packets.
func (s *Links) TxDropped() ([]TxDropped, error) {
	if s == nil {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	request := make([]byte, statsMsgSize)
	binary.NativeEndian.PutUint32(request[statsMsgFilter:], statsLink64Filter)
	var all []TxDropped
	err := s.dump(unix.RTM_GETSTATS, request, func(m []byte) error {
		d := TxDropped{Link: int32(binary.NativeEndian.Uint32(m[statsMsgIndex:]))}
		err := nfnl.Attributes(m[statsMsgSize:], statsMsgSize, func(typ uint16, _ int, v []byte) error {
			if typ == statsLink64 && len(v) >= stats64TxDropped+8 {
				d.Packets = binary.NativeEndian.Uint64(v[stats64TxDropped:])
			}
			return nil
		})
		if d.Packets > 0 {
			all = append(all, d)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the statistics of links: %w", err)
	}
	return all, nil
}

// Bypasses reports why packets that came in may have met no hook of IP and yet not be lost: whether a link is a port of another one, and
// whether a link, of which only Ethernet has such frames, may have had some for other hosts.
func (s *Links) Bypasses() (ports, otherHosts bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err = s.dump(unix.RTM_GETLINK, make([]byte, ifInfoSize), func(m []byte) error {
		others := binary.NativeEndian.Uint16(m[ifInfoType:]) == unix.ARPHRD_ETHER
		err := nfnl.Attributes(m[ifInfoSize:], ifInfoSize, func(typ uint16, _ int, v []byte) error {
			switch typ {
			case unix.IFLA_MASTER:
				ports = true
			case unix.IFLA_STATS64:
				others = others && (len(v) < stats64OtherHost+8 || binary.NativeEndian.Uint64(v[stats64OtherHost:]) > 0)
			}
			return nil
		})
		otherHosts = otherHosts || others
		return err
	})
	if err != nil {
		return false, false, fmt.Errorf("read the links: %w", err)
	}
	return ports, otherHosts, nil
}

// Qdisc is the queueing discipline of a link, with what its classes hold and drop.
type Qdisc struct {
	Link          int32  // the index of the link
	Kind          string // "tbf"
	Held, Dropped uint64 // packets that it holds now, and that it has dropped since it was created
}

// Qdiscs returns the queueing disciplines of all links; none if the kernel has none.
func (s *Links) Qdiscs() ([]Qdisc, error) {
	if s == nil {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Qdisc
	err := s.dump(unix.RTM_GETQDISC, make([]byte, tcMsgSize), func(m []byte) error {
		if binary.NativeEndian.Uint32(m[tcMsgParent:]) != tcRoot {
			return nil // a root counts what its classes hold and drop, too
		}
		q, err := decodeQdisc(m[tcMsgSize:])
		q.Link = int32(binary.NativeEndian.Uint32(m[tcMsgIndex:]))
		all = append(all, q)
		return err
	})
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) { // a kernel without CONFIG_NET_SCHED has none
		return nil, fmt.Errorf("read the statistics of queueing disciplines: %w", err)
	}
	return all, nil
}

// decodeQdisc returns a queueing discipline without its link.
func decodeQdisc(attributes []byte) (q Qdisc, err error) {
	err = nfnl.Attributes(attributes, tcMsgSize, func(typ uint16, at int, v []byte) error {
		switch typ {
		case tcaKind:
			q.Kind = nfnl.CString(v)
		case tcaStats2:
			return nfnl.Attributes(v, at, func(typ uint16, _ int, v []byte) error {
				if typ == tcaStatsQueue && len(v) >= queueDrops+4 {
					q.Held = uint64(binary.NativeEndian.Uint32(v))
					q.Dropped = uint64(binary.NativeEndian.Uint32(v[queueDrops:]))
				}
				return nil
			})
		}
		return nil
	})
	return q, err
}

// dump calls each for all objects of a kind; request and objects begin with the same structure.
func (s *Links) dump(typ uint16, request []byte, each func(m []byte) error) error {
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
