package queues

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// Filter is something that may drop packets of a link before the first or behind the last hook of netfilter, and counts none.
type Filter struct {
	Link   int32  // the index of the link
	Egress bool   // it has what leaves; else what comes in
	Kind   string // a classifier of tc: "u32", or "tcx" or "XDP" for programs that are attached to the link itself
}

// String returns "filters of tc (u32)", "programs of tcx" or "programs of XDP".
func (f Filter) String() string {
	if f.Kind == kindTCX || f.Kind == kindXDP {
		return "programs of " + f.Kind
	}
	return fmt.Sprintf("filters of tc (%s)", f.Kind)
}

// Offsets of struct tcmsg, handles and attributes (include/uapi/linux/rtnetlink.h, pkt_sched.h, if_link.h), and numbers of bpf(2)
// (include/uapi/linux/bpf.h).
const (
	tcIngress                      = 0xfffffff1 // TC_H_INGRESS and TC_H_CLSACT
	tcMinIngress, tcMinEgress      = 0xfffffff2, 0xfffffff3
	iflaXDP, iflaXDPAttached       = 43, 2
	bpfProgQuery                   = 16
	bpfTCXIngress, bpfTCXEgress    = 46, 47
	qdiscIngress, kindTCX, kindXDP = "ingress", "tcx", "XDP"
)

// Filters returns what may drop packets of links without a count, once for each kind: classifiers of an ingress or clsact qdisc, and
// programs of XDP and tcx. It must be called on a thread of the namespace. Whether there are programs of tcx only the host's root
// may ask; who else cannot attach any, either.
func (s *Links) Filters() ([]Filter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, links, err := s.xdp()
	if err != nil {
		return nil, fmt.Errorf("read the links: %w", err)
	}
	parents, err := s.ingressQdiscs()
	if err != nil {
		return nil, fmt.Errorf("read queueing disciplines: %w", err)
	}
	for _, at := range parents {
		if err := s.classifiers(at.Filter, at.parent, &all); err != nil {
			return nil, fmt.Errorf("read the filters of tc: %w", err)
		}
	}
	for _, link := range links {
		for _, f := range []Filter{{link, false, kindTCX}, {link, true, kindTCX}} {
			if hasTCX(f) {
				all = append(all, f)
			}
		}
	}
	return all, nil
}

// xdp returns the links with a program of XDP, and the indexes of all links.
func (s *Links) xdp() (with []Filter, all []int32, err error) {
	err = s.dump(unix.RTM_GETLINK, make([]byte, ifInfoSize), func(m []byte) error {
		link := int32(binary.NativeEndian.Uint32(m[ifInfoIndex:]))
		all = append(all, link)
		return nfnl.Attributes(m[ifInfoSize:], ifInfoSize, func(typ uint16, at int, v []byte) error {
			if typ != iflaXDP {
				return nil
			}
			return nfnl.Attributes(v, at, func(typ uint16, _ int, v []byte) error {
				if typ == iflaXDPAttached && len(v) > 0 && v[0] != 0 {
					with = append(with, Filter{Link: link, Kind: kindXDP})
				}
				return nil
			})
		})
	})
	return with, all, err
}

// place is where classifiers of a link may be.
type place struct {
	Filter        // without a kind
	parent uint32 // as tc knows it
}

// ingressQdiscs returns the places of classifiers of all links: clsact has two, ingress one.
func (s *Links) ingressQdiscs() (all []place, err error) {
	err = s.dump(unix.RTM_GETQDISC, make([]byte, tcMsgSize), func(m []byte) error {
		if binary.NativeEndian.Uint32(m[tcMsgParent:]) != tcIngress {
			return nil
		}
		q, err := decodeQdisc(m[tcMsgSize:])
		link := int32(binary.NativeEndian.Uint32(m[tcMsgIndex:]))
		all = append(all, place{Filter{Link: link}, tcMinIngress})
		if q.Kind != qdiscIngress {
			all = append(all, place{Filter{Link: link, Egress: true}, tcMinEgress})
		}
		return err
	})
	if errors.Is(err, unix.EOPNOTSUPP) { // a kernel without CONFIG_NET_SCHED
		return nil, nil
	}
	return all, err
}

// classifiers adds a Filter for each kind of classifier at a place.
func (s *Links) classifiers(at Filter, parent uint32, all *[]Filter) error {
	request := make([]byte, tcMsgSize)
	binary.NativeEndian.PutUint32(request[tcMsgIndex:], uint32(at.Link))
	binary.NativeEndian.PutUint32(request[tcMsgParent:], parent)
	err := s.dump(unix.RTM_GETTFILTER, request, func(m []byte) error {
		q, err := decodeQdisc(m[tcMsgSize:]) // its kind has the same attribute
		if at.Kind = q.Kind; at.Kind != "" && !slices.Contains(*all, at) {
			*all = append(*all, at)
		}
		return err
	})
	if errors.Is(err, unix.EOPNOTSUPP) { // a kernel without CONFIG_NET_CLS
		return nil
	}
	return err
}

// hasTCX reports whether a link has programs of tcx, as far as the kernel tells (kernel/bpf/mprog.c, bpf_mprog_query): before Linux
// 6.6 there are none.
func hasTCX(f Filter) bool {
	query := struct {
		link, typ, _, _ uint32
		_               uint64
		count, _        uint32
		_               [4]uint64
	}{link: uint32(f.Link), typ: bpfTCXIngress}
	if f.Egress {
		query.typ = bpfTCXEgress
	}
	_, _, errno := unix.Syscall(unix.SYS_BPF, bpfProgQuery, uintptr(unsafe.Pointer(&query)), unsafe.Sizeof(query))
	runtime.KeepAlive(&query)
	return errno == 0 && query.count > 0
}
