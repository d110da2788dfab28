package observe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
	"github.com/ctexp/go-ctexp/internal/ruleset"
)

// Tally returns what was counted since the Observer was opened.
//
// It returns ErrLimitChanged, ErrEventsLost or ErrProbeLost rather than numbers that cannot be relied on.
func (o *Observer) Tally(ctx context.Context) (Tally, error) {
	t, err := o.tally(ctx)
	if err != nil {
		return Tally{}, fmt.Errorf("tally: %w", err)
	}
	return t, nil
}

func (o *Observer) tally(ctx context.Context) (Tally, error) {
	release, err := o.use(ctx)
	if err != nil {
		return Tally{}, err
	}
	defer release()
	now, err := o.read()
	if err != nil {
		return Tally{}, err
	}
	st := now.stats.Sub(o.start.stats)
	t := Tally{
		Packets:   make(map[string]uint64, len(o.cfg.Probes)),
		Entries:   now.entries - o.start.entries,
		Collected: saturatingSub(now.destroyed-o.start.destroyed, st.EarlyDrop),
		Law:       Law{Silent: o.cfg.Silent, Free: o.cfg.Free, Unreplied: o.cfg.Unreplied},
	}
	stats := maps.Collect(st.All())
	for _, c := range t.counts() {
		if c.stat != "" {
			*c.n = stats[c.stat]
		}
	}
	if o.cfg.Filler == 0 {
		t.Law.Free = -1
	}
	if o.cfg.Unreplied {
		// The entries of such a filler are evicted without an event: the events are those of other entries.
		t.Collected = now.destroyed - o.start.destroyed
	}
	for _, p := range o.cfg.Probes {
		t.Packets[name(p)] = o.since(now, name(p))
		if p.BehindConntrack() {
			t.Law.BehindConntrack = append(t.Law.BehindConntrack, name(p))
		}
	}
	t.Law.Before, t.Law.Known = o.bothFamilies(now, lawProbes.before)
	behind, known := o.bothFamilies(now, lawProbes.behind)
	t.Law.Behind, t.Law.Known = behind, t.Law.Known && known
	output, known := o.bothFamilies(now, lawProbes.output)
	t.Law.Output, t.Law.Known = output, t.Law.Known && known
	return t, nil
}

// since returns how many packets met a probe since the Observer was opened.
func (o *Observer) since(now snapshot, name string) uint64 {
	return saturatingSub(now.packets[name], o.start.packets[name])
}

// both returns the packets of both families at a standard probe, and whether that of IPv4 is there at all.
func (o *Observer) bothFamilies(now snapshot, p nf.Probe) (packets uint64, known bool) {
	known = o.configured(p)
	for _, p := range []nf.Probe{p, p.IPv6()} {
		if o.configured(p) {
			packets += o.since(now, p.Name)
		}
	}
	return packets, known
}

// promised reports whether the Config has a probe.
func (o *Observer) configured(p nf.Probe) bool {
	for _, probes := range [][]nf.Probe{o.cfg.Path, o.cfg.Probes} {
		for _, q := range probes {
			if p == q {
				return true
			}
		}
	}
	return false
}

// readArrived returns how many packets of each family all links have brought, for a Path; nil where nobody counts them.
func (o *Observer) readArrived() (map[nf.Family]uint64, error) {
	if len(o.cfg.Path) == 0 {
		return nil, nil
	}
	counters, err := ruleset.Counters(o.table, unix.NFPROTO_NETDEV, ours.Table)
	if err != nil {
		return nil, err
	}
	var arrived map[nf.Family]uint64
	for _, c := range counters {
		for _, f := range []nf.Family{nf.IPv4, nf.IPv6} {
			if strings.HasPrefix(c.Name, fmt.Sprintf("%s%v/", ours.Arrived, f)) {
				if arrived == nil {
					arrived = map[nf.Family]uint64{}
				}
				arrived[f] += c.Packets
			}
		}
	}
	return arrived, nil
}

// answered returns what the host has said of packets without an entry.
func (o *Observer) attached(now snapshot) map[nf.Family]AttachedCount {
	all := map[nf.Family]AttachedCount{}
	for _, f := range []nf.Family{nf.IPv4, nf.IPv6} {
		at := func(h nf.Hook) uint64 { return o.since(now, fmt.Sprintf("%s%v/%v", ours.Answered, f, h)) }
		if a := (AttachedCount{at(nf.Input), at(nf.Postrouting)}); a != (AttachedCount{}) {
			all[f] = a
		}
	}
	return all
}

// passed returns how many INVALID packets have got to the confirmation.
func (o *Observer) invalidPassed(now snapshot) map[nf.Family]uint64 {
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
func (o *Observer) mayBypassHooks() (bool, error) {
	if has, err := ruleset.HasFlowtables(o.table); has || err != nil {
		return has, err
	}
	ports := false
	err := o.ns.Do(func() (err error) {
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

// collected counts the entries that left the table unasked, by those DESTROY events that nobody has asked for.
type collected struct {
	count   uint64
	pending []nf.Entry // of fate maybeReplaced
	table   *nfnl.Conn
}

// maxPending bounds what waits to be settled.
const maxPending = 1024

// add judges a DESTROY event.
func (c *collected) add(msg []byte) error {
	body, at := nfnl.EventBody(msg)
	end, err := nfnl.DecodeEnd(body, at)
	if err != nil || end.Zone == ours.FillerZone {
		return err
	}
	switch fateOf(end) {
	case removed:
		c.count++
	case maybeReplaced:
		gone, err := nfnl.DecodeEntry(body, at)
		if err != nil {
			return err
		}
		c.pending = append(c.pending, gone)
		if len(c.pending) > maxPending {
			return c.settle()
		}
	}
	return nil
}

// settle decides about entries of which the event alone does not tell. It is for when the packets are through: the
// entry that replaces another is in the table only when its packet was confirmed, a while after the event.
func (c *collected) settle() error {
	for _, gone := range c.pending {
		replaced, err := c.replaced(gone)
		if err != nil {
			return err
		}
		if !replaced {
			c.count++
		}
	}
	c.pending = c.pending[:0]
	return nil
}

// replaced reports whether another entry has one of the tuples of the one that is gone.
func (c *collected) replaced(gone nf.Entry) (bool, error) {
	for dir, tuple := range map[nf.Direction]nf.Tuple{nf.Original: gone.Orig, nf.Reply: gone.Reply} {
		_, err := c.table.Get(tuple, gone.ZoneOf(dir))
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return false, nil
}
