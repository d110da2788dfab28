package observe

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// readArrived returns how many packets of each family all links have brought, for a Path; nil where nobody counts them.
func (o *Observer) readArrived() (map[nf.Family]uint64, error) {
	if len(o.cfg.Path) == 0 {
		return nil, nil
	}
	counters, err := readCounters(o.table, nftables.TableFamilyNetdev, ours.Table)
	if err != nil {
		return nil, err
	}
	var arrived map[nf.Family]uint64
	for _, c := range counters {
		for _, f := range []nf.Family{nf.IPv4, nf.IPv6} {
			if strings.HasPrefix(c.name, fmt.Sprintf("%s%v/", ours.Arrived, f)) {
				if arrived == nil {
					arrived = map[nf.Family]uint64{}
				}
				arrived[f] += c.packets
			}
		}
	}
	return arrived, nil
}

// answered returns what the host has said of packets without an entry.
func (o *Observer) answered(now snapshot) map[nf.Family]Answered {
	all := map[nf.Family]Answered{}
	for _, f := range []nf.Family{nf.IPv4, nf.IPv6} {
		at := func(h nf.Hook) uint64 { return o.since(now, fmt.Sprintf("%s%v/%v", ours.Answered, f, h)) }
		if a := (Answered{at(nf.Input), at(nf.Postrouting)}); a != (Answered{}) {
			all[f] = a
		}
	}
	return all
}

// passed returns how many INVALID packets have got to the confirmation.
func (o *Observer) passed(now snapshot) map[nf.Family]uint64 {
	all := map[nf.Family]uint64{}
	for _, f := range []nf.Family{nf.IPv4, nf.IPv6} {
		for _, h := range []nf.Hook{nf.Input, nf.Postrouting} {
			if n := o.since(now, fmt.Sprintf("%s%v/%v", ours.Passed, f, h)); n > 0 {
				all[f] += n
			}
		}
	}
	return all
}

// elsewhere reports whether packets can pass the hooks by: with a flowtable of the user's, or on a link that is a port of
// another.
func (o *Observer) elsewhere() (bool, error) {
	tables, err := o.nftTables()
	if err != nil {
		return false, err
	}
	for _, t := range tables {
		o.nftMu.Lock()
		flowtables, err := o.nft.ListFlowtables(t.Table)
		o.nftMu.Unlock()
		if err != nil {
			return false, fmt.Errorf("list flowtables of %s: %w", t.Name, err)
		}
		if len(flowtables) > 0 {
			return true, nil
		}
	}
	ports := false
	err = o.ns.Do(func() (err error) {
		ports, err = hasPorts()
		return err
	})
	return ports, err
}

// hasPorts reports whether a link is a port of another. It must be called on a thread in the namespace.
func hasPorts() (bool, error) {
	rib, err := syscall.NetlinkRIB(unix.RTM_GETLINK, unix.AF_UNSPEC)
	if err != nil {
		return false, fmt.Errorf("list links: %w", err)
	}
	msgs, err := syscall.ParseNetlinkMessage(rib)
	if err != nil {
		return false, fmt.Errorf("list links: %w", err)
	}
	for _, m := range msgs {
		if m.Header.Type != unix.RTM_NEWLINK {
			continue
		}
		attrs, err := syscall.ParseNetlinkRouteAttr(&m)
		if err != nil {
			return false, fmt.Errorf("list links: %w", err)
		}
		for _, a := range attrs {
			if a.Attr.Type == unix.IFLA_MASTER {
				return true, nil
			}
		}
	}
	return false, nil
}
