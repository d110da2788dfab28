package observe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/ours"
	"github.com/ctexp/go-ctexp/internal/ruleset"
)

// Path returns how many packets met each probe of Config.Path since the Observer was opened. Without such probes the
// error is ErrOff.
//
// If the DropSource lost drops, the error says so and the Path has the rest. If a rule may have dropped packets, Path
// also reads the user's rules, which takes as long as Rules. If a route may have refused them, it reads the routes.
func (o *Observer) Path(ctx context.Context) (Path, error) {
	return o.path(ctx, true)
}

// PathCounts is Path without the user's rules: it takes less than a millisecond, and does not tell which rule has dropped
// packets.
func (o *Observer) PathCounts(ctx context.Context) (Path, error) {
	return o.path(ctx, false)
}

func (o *Observer) path(ctx context.Context, rules bool) (Path, error) {
	p, err := o.readPath(ctx, rules)
	if err != nil {
		return p, fmt.Errorf("path: %w", err)
	}
	return p, nil
}

func (o *Observer) readPath(ctx context.Context, rules bool) (Path, error) {
	release, err := o.use(ctx)
	if err != nil {
		return Path{}, err
	}
	defer release()
	if len(o.cfg.Path) == 0 {
		return Path{}, turnedOff("probes of the path", "the namespace was made without them")
	}
	onLinks, err := o.readOnLinks() // before the probes, so that packets arriving meanwhile do not look lost
	if err != nil {
		return Path{}, err
	}
	now, err := o.read()
	if err != nil {
		return Path{}, err
	}
	var waiting []nf.Waiting
	var errWaiting error
	if o.holder != nil {
		waiting, errWaiting = o.holder.Waiting(ctx)
	}
	p, err := o.countPath(now, onLinks)
	if err != nil {
		return Path{}, err
	}
	p.Waiting = waiting
	drops, lost := o.readDropSource(ctx)
	if drops != nil {
		p.KernelDrops = countDrops(drops)
	}
	losses := p.Losses()
	if slices.ContainsFunc(losses, func(l Loss) bool { return l.Hook == nf.Ingress }) {
		if p.MayBypassHooks, p.OtherHosts, err = o.beside(); err != nil {
			return Path{}, err
		}
	}
	uncounted := false
	if rules {
		if uncounted, err = ruleset.HasUncounted(o.table); err != nil {
			return Path{}, err
		}
		if err := o.ns.Do(func() (err error) { p.Filters, err = linkFilters(o.links); return err }); err != nil {
			return Path{}, err
		}
	}
	if rules && slices.ContainsFunc(losses, Loss.mayBeRefused) {
		if p.Refusals, err = o.refusals(); err != nil {
			return Path{}, err
		}
	}
	mayBeByRule := slices.ContainsFunc(losses, Loss.mayBeByRule)
	if rules && (mayBeByRule || uncounted) {
		var drops []Drop
		var nat map[nf.Family]bool
		if drops, nat, err = o.drops(ctx); mayBeByRule && err == nil {
			p.Drops, p.NAT = append([]Drop{}, drops...), nat
		}
		for _, d := range drops {
			if d.Uncounted {
				p.Uncounted = append(p.Uncounted, d)
			}
		}
		if errors.Is(err, errors.ErrUnsupported) { // without the program that created the rules the Path goes without them
			err = nil
		}
	}
	return p, errors.Join(err, lost, errWaiting)
}

// countPath returns the Path as the kernel's counters and the logs tell it. What the rules tell is missing.
func (o *Observer) countPath(now snapshot, onLinks linkCounts) (Path, error) {
	st := now.stats.Sub(o.start.stats)
	p := Path{
		Reading:  o.nextReading(),
		Silenced: o.since(now, nf.Silenced),
		Dropped:  st.Drop, Invalid: st.Invalid, InsertFailed: st.InsertFailed, ICMPErrors: st.Error,
		Arrived: subCounts(onLinks.arrived, o.onLinks.arrived), EgressDropped: subCounts(onLinks.dropped, o.onLinks.dropped),
		Attached: o.attached(now), InvalidPassed: o.invalidPassed(now), Passed: o.passed(now),
	}
	p.HelpersUntold = o.reasons == nil || !kernel.HelperDropsLogged.Here()
	if o.reasons != nil {
		if err := o.reasons.Drain(); err != nil {
			return Path{}, err
		}
		p.Reasons, p.HelperDrops = o.reasons.log.counts(), o.reasons.log.helperDrops()
	}
	for _, probe := range o.cfg.Path {
		probe.Name = probeName(probe)
		p.Points = append(p.Points, Point{Probe: probe, Packets: o.since(now, probe.Name)})
	}
	var err error
	if p.MIB, err = o.mib.since(); err != nil {
		return Path{}, err
	}
	egress, err := linkDrops(o.links)
	if err != nil {
		return Path{}, err
	}
	p.LinkDrops = subList(egress, o.egress, LinkDrop.key, (*LinkDrop).sub)
	if p.withoutProbes(nf.IPv6) > 0 {
		if err := o.addIPv6Discards(p.MIB); err != nil {
			return Path{}, err
		}
	}
	return p, nil
}

// mayBeByRule reports whether a rule may have dropped some of the packets.
func (l Loss) mayBeByRule() bool {
	return slices.ContainsFunc(l.Causes, func(c Cause) bool { return c.Kind == CauseRule })
}

// mayBeRefused reports whether a route may have refused the packets: nothing counts why they were lost behind prerouting, or what
// counts packets without a route does.
func (l Loss) mayBeRefused() bool {
	return l.Hook == nf.Prerouting && slices.ContainsFunc(l.Causes, func(c Cause) bool {
		return c.Kind == CauseNoRoute || c.Kind == CauseMartian && !c.Certain
	})
}

// linkCounts are the packets of each family that came in on all links, and those that rules took on their way out; nil if nothing
// counts them.
type linkCounts struct{ arrived, dropped map[nf.Family]uint64 }

// readOnLinks reads the counters of the links.
func (o *Observer) readOnLinks() (linkCounts, error) {
	if len(o.cfg.Path) == 0 {
		return linkCounts{}, nil
	}
	counters, err := ruleset.Counters(o.table, unix.NFPROTO_NETDEV, ours.Table)
	if err != nil {
		return linkCounts{}, err
	}
	if err := o.seal.count("netdev ", counters); err != nil {
		return linkCounts{}, err
	}
	left := map[string]uint64{}
	for _, c := range counters {
		if link, is := strings.CutPrefix(c.Name, ours.Left); is {
			left[link] = c.Packets
		}
	}
	var n linkCounts
	for _, c := range counters {
		for _, f := range nf.Families() {
			if strings.HasPrefix(c.Name, fmt.Sprintf("%s%v/", ours.Arrived, f)) {
				addTo(&n.arrived, f, c.Packets)
			}
			if strings.HasPrefix(c.Name, fmt.Sprintf("%s%v/", ours.Leaving, f)) {
				addTo(&n.dropped, f, saturatingSub(c.Packets, left[strings.TrimPrefix(c.Name, ours.Leaving)]))
			}
		}
	}
	return n, nil
}

// addTo adds n to an element of a map, which it makes if it is nil.
func addTo(m *map[nf.Family]uint64, f nf.Family, n uint64) {
	if *m == nil {
		*m = map[nf.Family]uint64{}
	}
	(*m)[f] += n
}

// addIPv6Discards adds the counter of packets that a namespace with IPv6 switched off has refused. Without probes for
// IPv6, its counters are not read otherwise, so that this is the count since the namespace was created.
func (o *Observer) addIPv6Discards(mib map[string]uint64) error {
	return o.ns.Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/snmp6")
		if errors.Is(err, fs.ErrNotExist) { // a kernel without IPv6
			return nil
		}
		if err != nil {
			return err
		}
		all := map[string]uint64{}
		if err := parseMIB(string(text), all); err != nil {
			return fmt.Errorf("read snmp6: %w", err)
		}
		if n := all[discards6]; n > 0 {
			mib[discards6] = n
		}
		return nil
	})
}

// attached returns the counts of Path.Attached.
func (o *Observer) attached(now snapshot) map[nf.Family]AttachedCount {
	all := map[nf.Family]AttachedCount{}
	for _, f := range nf.Families() {
		at := func(h nf.Hook) uint64 { return o.since(now, fmt.Sprintf("%s%v/%v", ours.Replies, f, h)) }
		if a := (AttachedCount{at(nf.Input), at(nf.Postrouting)}); a != (AttachedCount{}) {
			all[f] = a
		}
	}
	return all
}

// invalidPassed returns the counts of Path.InvalidPassed.
func (o *Observer) invalidPassed(now snapshot) map[nf.Family]uint64 {
	all := map[nf.Family]uint64{}
	for _, f := range nf.Families() {
		for _, h := range []nf.Hook{nf.Input, nf.Postrouting} {
			if n := o.since(now, fmt.Sprintf("%s%v/%v", ours.InvalidConfirmed, f, h)); n > 0 {
				all[f] += n
			}
		}
	}
	return all
}

// passed returns the counts of Path.Passed.
func (o *Observer) passed(now snapshot) map[string]uint64 {
	all := map[string]uint64{}
	for _, p := range o.cfg.Path {
		if isConfirm(p) {
			all[probeName(p)] = o.since(now, fmt.Sprintf("%s%v/%v", ours.Passed, p.Family, p.Hook))
		}
	}
	return all
}

// beside tells why packets may have met no hook that are not lost: they bypassed the hooks, by a flowtable of the user or on a link
// that is a port of another one, or they were for another host.
func (o *Observer) beside() (bypass, otherHosts bool, err error) {
	if bypass, err = ruleset.HasFlowtables(o.table); err != nil {
		return false, false, err
	}
	ports, otherHosts, err := o.links.Bypasses()
	return bypass || ports, otherHosts, err
}
