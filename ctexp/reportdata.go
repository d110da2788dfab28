package ctexp

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/pktline"
	"github.com/ctexp/go-ctexp/internal/report"
	"github.com/ctexp/go-ctexp/internal/ruleset"
)

// reportData returns the data of an experiment's report. Its Missing lists the parts that could not be read.
func (l *Lab) reportData(snap snapshot, test string) report.Data {
	c := collector{snapshot: snap, lab: l, fates: snap.fates()}
	c.d = report.Data{Test: test, Time: l.opened, Took: time.Since(l.opened), Kernel: kernel(), Versions: versions(), Sent: l.sent.Load()}
	c.place()
	c.counts()
	c.flows()
	c.rules()
	c.frames()
	if len(snap.record.Missing) == 0 {
		c.missing(report.PartFrames, snap.recordErr)
	}
	return c.d
}

// collector fills a report part by part.
type collector struct {
	snapshot
	lab   *Lab
	fates []Fate
	d     report.Data
}

func (c *collector) missing(part string, err error) {
	if err != nil {
		c.d.Missing = append(c.d.Missing, report.Missing{Part: part, Why: why(err).Error()})
	}
}

func (c *collector) place() {
	env := c.lab.Env
	for _, l := range env.Links() {
		link := report.Link{Name: l.Name(), Kind: l.Kind().String(), MTU: l.MTU()}
		for _, p := range l.Prefixes() {
			link.Addrs = append(link.Addrs, p.String())
		}
		c.d.Links = append(c.d.Links, link)
	}
	room := env.Room()
	c.d.Room = report.Room{Limited: room.Free >= 0, Free: max(0, room.Free), Filler: room.Filler, Limit: room.Limit}
	for _, s := range env.SysctlChanges() {
		c.d.Sysctls = append(c.d.Sysctls, report.Sysctl{Name: s.Name, Before: s.Before, After: s.After, By: string(s.By)})
	}
}

// loadedModules returns the text of /proc/modules, or nothing if that cannot be read: nothing is known of them then.
func loadedModules() string {
	text, _ := os.ReadFile("/proc/modules")
	return string(text)
}

// unwritten returns a line for each helper that has translated flows and cannot rewrite what it reads in them. Most have none, and
// the modules are not asked for.
func unwritten(flows []nf.Entry, modules func() string) (notes []string) {
	var seen []string
	for _, e := range flows {
		if e.Helper == "" || e.Status&(nf.SrcNAT|nf.DstNAT) == 0 || slices.Contains(seen, e.Helper) {
			continue
		}
		seen = append(seen, e.Helper)
		if module := ruleset.RewriterMissing(e.Helper, modules()); module != "" {
			notes = append(notes, fmt.Sprintf("the helper %s does not rewrite what NAT translates: %s is not loaded (sudo modprobe %[2]s)", e.Helper, module))
		}
	}
	return notes
}

func (c *collector) counts() {
	c.missing(report.PartPath, c.pathErr)
	c.d.Path = report.PathOf(c.path)
	c.d.Path.Notes = append(c.d.Path.Notes, unwritten(c.snapshot.flows, loadedModules)...)
	c.missing(report.PartTally, c.tallyErr)
	if c.tallyErr != nil {
		return
	}
	t := c.tally
	for name, n := range t.All() {
		c.d.Tally = append(c.d.Tally, report.Count{Name: name, N: n})
	}
	c.missing(report.PartStats, c.statsErr)
	if c.statsErr == nil {
		for name, n := range c.stats.All() {
			c.d.Stats = append(c.d.Stats, report.Count{Name: name, N: int64(n)})
		}
	}
	law := report.Law{Law: "the laws of a table of limited room", Verdict: report.Holds}
	if err := t.Check(); errors.Is(err, observe.ErrLawNotApplicable) {
		law.Verdict, law.Why = report.NotApplicable, err.Error()
	} else if err != nil {
		law.Verdict, law.Why = report.Broken, err.Error()
	}
	c.d.Laws = append(c.d.Laws, law)
}

func (c *collector) flows() {
	c.missing(report.PartFlows, c.flowsMissing())
	shown := c.snapshot.flows[:min(maxFlows, len(c.snapshot.flows))]
	c.d.Omitted.Flows = max(c.entries, len(c.snapshot.flows)) - len(shown)
	life := c.lives()
	for _, e := range shown {
		f := report.Flow{
			Line: e.String(), Proto: e.Orig.Proto.String(), Orig: e.Orig.String(), Reply: e.Reply.String(),
			OrigEnds: report.Ends(e.Orig), ReplyEnds: report.Ends(e.Reply),
			Status: e.Status.String(), Timeout: int64(e.Timeout.Seconds()), Mark: e.Mark, Zone: e.Zone,
			Helper: e.Helper, Labels: e.Labels, NAT: e.NAT().String(),
			Packets: [2]int64{int64(e.Packets.Orig), int64(e.Packets.Reply)},
			Bytes:   [2]int64{int64(e.Bytes.Orig), int64(e.Bytes.Reply)},
			Life:    life(e),
		}
		if e.Orig.Proto == nf.TCP {
			f.State = e.State.String()
		}
		c.d.Flows = append(c.d.Flows, f)
	}
}

// lives returns a function that returns the life of an entry by the events of its zone. The events are processed once for
// all entries.
func (c *collector) lives() func(nf.Entry) []string {
	ofZone := c.eventsByZone()
	lives := map[uint16]map[nf.Tuple][]string{}
	for zone, events := range ofZone {
		lives[zone] = observe.Lives(events)
	}
	return func(e nf.Entry) []string {
		zone, known := lives[e.Zone]
		if !known {
			zone = lives[0]
			e.Orig = nf.Tuple{} // the zone has no events
		}
		if life, known := zone[e.Orig]; known {
			return life
		}
		return zone[nf.Tuple{}]
	}
}

// eventsByZone returns the events of each zone, and of zone 0 if there are none.
func (c *collector) eventsByZone() map[uint16][]observe.Event {
	all := c.record.Events
	if !slices.ContainsFunc(all, func(e observe.Event) bool { return e.Entry.Zone != 0 }) {
		return map[uint16][]observe.Event{0: all} // events are large, and zones rare
	}
	ofZone, lost := map[uint16][]observe.Event{0: nil}, []observe.Event{}
	for _, e := range all {
		if e.Kind != observe.EventLost {
			zone, known := ofZone[e.Entry.Zone]
			if !known {
				zone = slices.Clone(lost)
			}
			ofZone[e.Entry.Zone] = append(zone, e)
			continue
		}
		lost = append(lost, e) // of an unknown zone: it counts for every zone
		for zone := range ofZone {
			ofZone[zone] = append(ofZone[zone], e)
		}
	}
	return ofZone
}

func (c *collector) rules() {
	c.missing(report.PartRules, errors.Join(append(c.listErrs, c.rulesErr)...))
	for _, r := range c.snapshot.rules {
		c.d.Rules = append(c.d.Rules, report.RuleOf(r))
	}
}

// frames adds the frames with the fates of their packets.
func (c *collector) frames() {
	r := c.record
	for _, m := range r.Missing {
		if m.Part == observe.PartTrace && errors.Is(m.Err, observe.ErrOff) {
			continue // tracing is off without Config.Trace
		}
		c.missing(string(m.Part), m.Err)
	}
	c.moments(r.Timeline())
	for _, f := range c.fates {
		c.d.Frames = append(c.d.Frames, reportFrame(f, c.d.Time))
	}
	if cut := r.Cut(observe.PartFrames); cut != nil {
		c.d.Omitted.Frames = cut.Of - cut.Kept
	}
}

// reportFrame converts a fate for the report, with times since opened.
func reportFrame(f Fate, opened time.Time) report.Frame {
	_, line, _ := strings.Cut(f.Frame.String(), f.Frame.Dir.String())
	out := report.Frame{
		At: f.Frame.Time.Sub(opened), Link: f.Frame.Link, Dir: report.In, Line: strings.TrimSpace(line),
		State: f.State, Invalid: f.Invalid, Causes: report.CausesOf(f.Causes), Reason: f.Why(),
	}
	if f.Frame.Dir == packet.Out {
		out.Dir = report.Out
	}
	if t := f.Frame.Tuple(); t != (nf.Tuple{}) {
		out.Src, out.Dst = netip.AddrPortFrom(t.Src.Addr(), 0), netip.AddrPortFrom(t.Dst.Addr(), 0)
		if t.Proto.HasPorts() {
			out.Src, out.Dst = t.Src, t.Dst
		}
	}
	out.What, out.Detail = pktline.Words(f.Frame.EtherType, f.Frame.Packet)
	if f.Lost {
		out.Verdict = report.Dropped
	}
	for _, s := range f.Steps {
		out.Steps = append(out.Steps, s.String())
	}
	return out
}

func (c *collector) moments(t observe.Timeline) {
	for i, m := range t.Moments {
		if i == maxMoments {
			c.d.Omitted.Timeline = len(t.Moments) - i
			break
		}
		c.d.Timeline = append(c.d.Timeline, report.Moment{
			At: m.Time.Sub(c.d.Time), Kind: m.Kind.String(), Line: m.Text, Loss: m.Kind == observe.KindDrop, Frame: m.Frame,
		})
	}
}

// The lengths of the lists in a report.
const (
	maxFlows   = 2000
	maxMoments = 20000
)

// kernel returns the release of the running kernel, elsewhere than on Linux the name of the system.
func kernel() string {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return runtime.GOOS
	}
	return strings.TrimSpace(string(b))
}

func versions() []report.Software {
	out := []report.Software{{Name: "go", Version: runtime.Version()}}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
			if m.Path == "github.com/ctexp/go-ctexp" && m.Version != "" {
				out = append(out, report.Software{Name: "ctexp", Version: m.Version})
			}
		}
	}
	return out
}
