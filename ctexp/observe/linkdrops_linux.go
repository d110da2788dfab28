package observe

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/internal/ours"
)

// routeConn is a netlink socket that reads the statistics of links.
type routeConn struct{ *netlink.Conn }

// dialRoute must be called on a thread in the namespace.
func dialRoute() (routeConn, error) {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return routeConn{}, fmt.Errorf("open rtnetlink: %w", err)
	}
	return routeConn{c}, nil
}

func (c routeConn) close() {
	if c.Conn != nil {
		_ = c.Close()
	}
}

// Sizes and offsets of struct ifinfomsg, struct tcmsg, struct rtnl_link_stats64 and struct gnet_stats_queue
// (include/uapi/linux/rtnetlink.h, if_link.h and gen_stats.h).
const (
	ifinfoSize, ifinfoIndex         = 16, 4
	tcSize, tcIndex, tcParent       = 20, 4, 12
	stats64TxDropped, queueDrops    = 7 * 8, 2 * 4
	tcaKind, tcaStats2, tcaStatsQue = 1, 7, 3
	tcRoot                          = 0xffffffff // TC_H_ROOT
)

// linkDrops returns how many packets each link has dropped on their way out since it was created, sorted. A veth counts
// in tx_dropped what its peer did not take (drivers/net/veth.c, veth_xmit), a tun what found its queue full
// (drivers/net/tun.c, tun_net_xmit). The far ends of our own links are omitted: Fence reports what they drop.
func (c routeConn) linkDrops() ([]LinkDrop, error) {
	names := map[int32]string{}
	var drops []LinkDrop
	links, err := c.dump(unix.RTM_GETLINK, ifinfoSize)
	if err != nil {
		return nil, err
	}
	for _, m := range links {
		index := int32(binary.NativeEndian.Uint32(m.Data[ifinfoIndex:]))
		attrs, err := netlink.NewAttributeDecoder(m.Data[ifinfoSize:])
		if err != nil {
			return nil, fmt.Errorf("decode a link: %w", err)
		}
		var dropped uint64
		for attrs.Next() {
			switch b := attrs.Bytes(); attrs.Type() {
			case unix.IFLA_IFNAME:
				names[index] = attrs.String()
			case unix.IFLA_STATS64:
				if len(b) >= stats64TxDropped+8 {
					dropped = binary.NativeEndian.Uint64(b[stats64TxDropped:])
				}
			}
		}
		if err := attrs.Err(); err != nil {
			return nil, fmt.Errorf("decode a link: %w", err)
		}
		if strings.HasPrefix(names[index], ours.FarPrefix) {
			delete(names, index)
		} else if dropped > 0 {
			drops = append(drops, LinkDrop{Link: names[index], Kind: CauseFarEnd, Counter: "tx_dropped", Packets: dropped})
		}
	}
	qdiscs, err := c.dump(unix.RTM_GETQDISC, tcSize)
	if err != nil {
		return nil, err
	}
	for _, m := range qdiscs {
		link, known := names[int32(binary.NativeEndian.Uint32(m.Data[tcIndex:]))]
		if parent := binary.NativeEndian.Uint32(m.Data[tcParent:]); !known || parent != tcRoot {
			continue // a root counts what its classes drop, too
		}
		kind, dropped, err := decodeQdisc(m.Data[tcSize:])
		if err != nil {
			return nil, fmt.Errorf("decode a queueing discipline: %w", err)
		}
		if dropped > 0 {
			drops = append(drops, LinkDrop{Link: link, Kind: CauseQdisc, Counter: kind + " dropped", Packets: uint64(dropped)})
		}
	}
	slices.SortFunc(drops, func(a, b LinkDrop) int { return cmp.Or(cmp.Compare(a.Link, b.Link), cmp.Compare(a.Counter, b.Counter)) })
	return drops, nil
}

// decodeQdisc returns the kind of a queueing discipline, and how many packets it has dropped.
func decodeQdisc(attributes []byte) (kind string, dropped uint32, err error) {
	attrs, err := netlink.NewAttributeDecoder(attributes)
	if err != nil {
		return "", 0, err
	}
	for attrs.Next() {
		switch attrs.Type() {
		case tcaKind:
			kind = attrs.String()
		case tcaStats2:
			attrs.Nested(func(stats *netlink.AttributeDecoder) error {
				for stats.Next() {
					if b := stats.Bytes(); stats.Type() == tcaStatsQue && len(b) >= queueDrops+4 {
						dropped = binary.NativeEndian.Uint32(b[queueDrops:])
					}
				}
				return nil
			})
		}
	}
	return kind, dropped, attrs.Err()
}

// dump returns all objects of a kind, each of which begins with a header of that size.
func (c routeConn) dump(typ netlink.HeaderType, header int) ([]netlink.Message, error) {
	messages, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: typ, Flags: netlink.Request | netlink.Dump}, Data: make([]byte, header),
	})
	if err != nil {
		return nil, fmt.Errorf("read the statistics of links: %w", err)
	}
	for _, m := range messages {
		if len(m.Data) < header {
			return nil, fmt.Errorf("read the statistics of links: message of %d bytes, want at least %d", len(m.Data), header)
		}
	}
	return messages, nil
}
