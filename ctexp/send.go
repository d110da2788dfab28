package ctexp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Inject sends packets on the first link of the Env. It returns how many were sent, after the kernel has processed all of
// them.
func (l *Lab) Inject(ctx context.Context, packets iter.Seq[packet.Packet]) (int, error) {
	link, err := l.firstLink()
	if err != nil {
		return 0, fmt.Errorf("ctexp: inject: %w", err)
	}
	return l.inject(ctx, link, packets)
}

// InjectOn is Inject on the link of that name.
func (l *Lab) InjectOn(ctx context.Context, link string, packets iter.Seq[packet.Packet]) (int, error) {
	to, err := l.linkNamed(link)
	if err != nil {
		return 0, fmt.Errorf("ctexp: inject: %w", err)
	}
	return l.inject(ctx, to, packets)
}

// InjectFrames is InjectOn for whole Ethernet frames. It needs a veth link; on others it is an error.
// For the frames that the host sends, with addresses, tags and ARP, see Experiment.InjectFrames.
func (l *Lab) InjectFrames(ctx context.Context, link string, frames iter.Seq[packet.Frame]) (int, error) {
	to, err := l.linkNamed(link)
	if err != nil {
		return 0, fmt.Errorf("ctexp: inject: %w", err)
	}
	return send(ctx, l, to, frames, inject.New(to).SendFrames)
}

func (l *Lab) inject(ctx context.Context, link *netnsenv.Link, packets iter.Seq[packet.Packet]) (int, error) {
	return send(ctx, l, link, packets, inject.New(link).Send)
}

// firstLink returns the link on which packets are sent unless another is named.
func (l *Lab) firstLink() (*netnsenv.Link, error) {
	links := l.Env.Links()
	if len(links) == 0 {
		return nil, errors.New("the Env has no link")
	}
	return links[0], nil
}

func (l *Lab) linkNamed(name string) (*netnsenv.Link, error) {
	link := l.Env.Link(name)
	if link == nil {
		return nil, l.noLink(name)
	}
	return link, nil
}

// noLink returns an error that says why there is no link of that name, and which links there are.
func (l *Lab) noLink(name string) error {
	var names []string
	for _, link := range l.Env.Links() {
		names = append(names, link.Name())
	}
	links := "there are none"
	if len(names) > 0 {
		links = "there are " + strings.Join(names, ", ")
	}
	if l.Env.Do(func() error { _, err := net.InterfaceByName(name); return err }) == nil {
		return fmt.Errorf("%s is an interface, such as a wire, but not a link of the Env; %s", name, links)
	}
	return fmt.Errorf("the Env has no link %q; %s", name, links)
}

// drainInterval is the number of packets after which the Observer reads what the kernel has queued for it, so that no socket
// buffer overflows: the default buffers of an ordinary user hold about 300 frames or events, and a packet may cause several.
// The queues of a flood share it; each has at least minDrainInterval.
const drainInterval, minDrainInterval = 64, 8

// send calls write with the sequence, and drains Observer and Inbox every drainInterval packets. The first packets are
// drained one by one, so that events and packets are in order in the Timeline.
func send[T any](ctx context.Context, l *Lab, link *netnsenv.Link, seq iter.Seq[T],
	write func(context.Context, iter.Seq[T]) (int, error)) (int, error) {
	if seq == nil {
		return 0, errors.New("ctexp: inject: the sequence is nil")
	}
	var lost error // of the packets that the host has sent meanwhile
	sent, err := write(ctx, func(yield func(T) bool) {
		n := 0
		for p := range seq {
			if n++; n > 1 && n <= drainInterval || n%drainInterval == 0 {
				l.Observer.Drain()
				l.Env.DrainQueues()
				if lost == nil {
					lost = l.Inbox.Drain()
				}
			}
			if !yield(p) {
				return
			}
		}
	})
	l.sent.Add(uint64(sent))
	l.Observer.Mark(ctx, fmt.Sprintf("%s by %s", packets(sent), link.Name()))
	return sent, errors.Join(err, lost)
}

// packets returns "1 packet", "2 packets".
func packets(n int) string {
	if n == 1 {
		return "1 packet"
	}
	return fmt.Sprintf("%d packets", n)
}

// Inject sends packets on the first link. When it returns the kernel has processed all of them.
func (x *Experiment) Inject(packets iter.Seq[packet.Packet]) {
	x.t.Helper()
	x.do("Inject", func(ctx context.Context) error {
		_, err := x.Lab.Inject(ctx, packets)
		return err
	})
}

// InjectOn sends packets on the link of that name. When it returns the kernel has processed all of them.
func (x *Experiment) InjectOn(link string, packets iter.Seq[packet.Packet]) {
	x.t.Helper()
	x.do("InjectOn", func(ctx context.Context) error {
		_, err := x.Lab.InjectOn(ctx, link, packets)
		return err
	})
}

// InjectFrames sends whole Ethernet frames on the link of that name. The test skips if the link is not a veth.
//
// Expect sees only IP packets. The frames that the host sends, with their addresses and tags, and ARP, are among x.Frames():
//
//	answer := packet.Match{Out: "eth0", EtherType: packet.EtherTypeARP, DstMAC: neighbour}
//	got := answer.Select(x.Frames())
func (x *Experiment) InjectFrames(link string, frames iter.Seq[packet.Frame]) {
	x.t.Helper()
	x.do("InjectFrames", func(ctx context.Context) error {
		_, err := x.Lab.InjectFrames(ctx, link, frames)
		return err
	})
}

// Flood sends a flood on the first link of the Env. It returns what was sent and what has arrived, after the kernel has
// processed all of it.
//
// The Observer keeps recording and reads from the kernel often enough that nothing is lost at any rate. It keeps at most
// 1,000,000 frames, of large ones fewer (observe.Config.MaxFrames), and 250,000 events, though: later ones are only counted,
// and Frames and Events end in ErrFramesLost and ErrEventsLost. Tally, Flows and Path are not affected. For a larger or faster flood, open the Env with NoFrames and
// NoEvents, or set other limits: see Watch.
func (l *Lab) Flood(ctx context.Context, f inject.Flood) (inject.Flooded, error) {
	link, err := l.firstLink()
	if err != nil {
		return inject.Flooded{}, fmt.Errorf("ctexp: flood: %w", err)
	}
	return l.flood(ctx, link, f)
}

// FloodOn is Flood on the link of that name.
func (l *Lab) FloodOn(ctx context.Context, link string, f inject.Flood) (inject.Flooded, error) {
	to, err := l.linkNamed(link)
	if err != nil {
		return inject.Flooded{}, fmt.Errorf("ctexp: flood: %w", err)
	}
	return l.flood(ctx, to, f)
}

func (l *Lab) flood(ctx context.Context, link *netnsenv.Link, f inject.Flood) (inject.Flooded, error) {
	done, err := f.Send(ctx, drainingLink{link, l.Observer.Drain, max(minDrainInterval, drainInterval/max(1, f.Queues))})
	l.sent.Add(uint64(done.Sent))
	l.Observer.Mark(ctx, fmt.Sprintf("flood of %s by %s", packets(done.Sent), link.Name()))
	return done, err
}

// drainingLink is a link that drains the Observer while packets are written.
type drainingLink struct {
	*netnsenv.Link
	drain func()
	every int // packets of each queue
}

// WriteBatch writes packets and drains after every few of them.
func (d drainingLink) WriteBatch(packets [][]byte) (n int, err error) {
	for n < len(packets) && err == nil {
		var written int
		written, err = d.Link.WriteBatch(packets[n:min(len(packets), n+d.every)])
		n += written
		d.drain()
	}
	return n, err
}

// Flood sends a flood on the first link and returns what was sent and what has arrived; see Lab.Flood.
func (x *Experiment) Flood(f inject.Flood) inject.Flooded {
	x.t.Helper()
	return ask1(x, "Flood", x.Lab.Flood, f)
}

// FloodOn is Flood on the link of that name.
func (x *Experiment) FloodOn(link string, f inject.Flood) inject.Flooded {
	x.t.Helper()
	return ask(x, "FloodOn", func(ctx context.Context) (inject.Flooded, error) { return x.Lab.FloodOn(ctx, link, f) })
}

// Replay sends a recording on the links of the Env. It returns how many of its packets were sent or left out, after the
// kernel has processed them. The recording is a file (packet.ReadRecording), the frames of another Experiment
// (packet.Records(x.Frames()...)), or a sequence derived from either.
//
// If r.By is nil, only packets that the recording host received are sent: packets that it sent (packet.Out) are left out,
// and, if the recording has no directions, those whose source is an address of the Env's host. A packet is sent on the link
// that has the name of the recorded one, else on the link that its source is behind according to the prefixes and routes of
// the links, else on the first link.
func (l *Lab) Replay(ctx context.Context, recording iter.Seq2[packet.Record, error], r inject.Replay) (inject.Replayed, error) {
	if recording == nil {
		return inject.Replayed{}, errors.New("ctexp: replay: the sequence is nil")
	}
	var links []inject.Link
	for _, link := range l.Env.Links() {
		links = append(links, link)
	}
	if r.By == nil {
		r.By = l.linkOfRecorded
	}
	done, err := r.Send(ctx, l.draining(recording), links...)
	l.sent.Add(uint64(done.Sent))
	l.Observer.Mark(ctx, fmt.Sprintf("%s of a recording", packets(done.Sent)))
	return done, err
}

// linkOfRecorded is the default of inject.Replay.By.
func (l *Lab) linkOfRecorded(r packet.Record) string {
	if r.Dir == packet.Out || r.Dir == packet.DirUnknown && l.isOwn(r.Packet) {
		return ""
	}
	if l.Env.Link(r.Link) != nil {
		return r.Link
	}
	return l.linkOf(r.Packet)
}

// isOwn reports whether the source of a packet is an address of the Env's host.
func (l *Lab) isOwn(p packet.Packet) bool {
	src := p.Tuple().Src.Addr()
	is := func(prefix netip.Prefix) bool { return prefix.Addr() == src }
	cfg := l.Env.Config()
	return slices.ContainsFunc(cfg.Links, func(link netnsenv.LinkConfig) bool { return slices.ContainsFunc(link.Prefixes, is) }) ||
		slices.ContainsFunc(cfg.Devices, func(d netnsenv.Device) bool { return slices.ContainsFunc(d.Prefixes, is) })
}

// draining drains the Observer while the sequence is consumed, as send does.
func (l *Lab) draining(recording iter.Seq2[packet.Record, error]) iter.Seq2[packet.Record, error] {
	return func(yield func(packet.Record, error) bool) {
		n := 0
		for r, err := range recording {
			if !yield(r, err) {
				return
			}
			if n++; n <= drainInterval || n%drainInterval == 0 {
				l.Observer.Drain()
			}
		}
	}
}

// Replay sends a recording on the links; see Lab.Replay.
func (x *Experiment) Replay(recording iter.Seq2[packet.Record, error], r inject.Replay) inject.Replayed {
	x.t.Helper()
	return ask(x, "Replay", func(ctx context.Context) (inject.Replayed, error) { return x.Lab.Replay(ctx, recording, r) })
}

// States injects packets one by one and returns the state of a flow's entry after each of them, as nf.Entry.Brief prints it:
//
//	[]string{"SYN_SENT [UNREPLIED]", "SYN_RECV", "ESTABLISHED [ASSURED]"}
//
// "none" means that there is no entry. The flow is given by a tuple of either direction, in zone 0. Each packet is sent on
// the link that its source is behind according to the prefixes and routes of the links, else on the first one.
func (l *Lab) States(ctx context.Context, flow nf.Tuple, packets iter.Seq[packet.Packet]) ([]string, error) {
	var states []string
	for p := range packets {
		if _, err := l.InjectOn(ctx, l.linkOf(p), packet.Packets(p)); err != nil {
			return states, numbered(err, len(states)+1)
		}
		e, err := l.entry(ctx, flow)
		switch {
		case err == nil:
			states = append(states, e.Brief())
		case errors.Is(err, fs.ErrNotExist):
			states = append(states, "none")
		default:
			return states, fmt.Errorf("state after packet %d: %w", len(states)+1, err)
		}
	}
	return states, nil
}

// entry returns the entry of a flow in zone 0. If it has none there, but in another zone, the error says so: else it wraps
// fs.ErrNotExist.
func (l *Lab) entry(ctx context.Context, flow nf.Tuple) (nf.Entry, error) {
	e, zone, err := l.anyEntry(ctx, flow)
	if err == nil && zone != 0 {
		return nf.Entry{}, fmt.Errorf("%v %v has no entry in zone 0, but one in zone %d: select that with Flows and nf.Filter.Zone", flow.Proto, flow, zone)
	}
	return e, err
}

// anyEntry returns the entry of a flow in zone 0 or, if it has none there, that in the first other zone, with the zone.
func (l *Lab) anyEntry(ctx context.Context, flow nf.Tuple) (e nf.Entry, zone uint16, err error) {
	if e, err = l.Observer.Get(ctx, flow, 0); !errors.Is(err, fs.ErrNotExist) {
		return e, 0, err
	}
	zones, other := l.Observer.ZonesOf(ctx, flow)
	switch {
	case other != nil:
		return e, 0, other
	case len(zones) == 0:
		return e, 0, err
	}
	e, err = l.Observer.Get(ctx, flow, zones[0])
	return e, zones[0], err
}

// Timeouts injects packets one by one and returns the timeout that the entry of a flow had when each of them had been processed,
// zero if there is no entry. It is exact however long reading it takes: an entry that was just given 120 s has 120 s. An entry
// that the packet did not refresh has what is left, rounded up to whole seconds. The flow is given by a tuple of either
// direction, in zone 0. Each packet is sent as by States.
func (l *Lab) Timeouts(ctx context.Context, flow nf.Tuple, packets iter.Seq[packet.Packet]) ([]time.Duration, error) {
	var timeouts []time.Duration
	for p := range packets {
		given, err := l.Env.Table().Given(ctx, func() error {
			_, err := l.InjectOn(ctx, l.linkOf(p), packet.Packets(p))
			return err
		}, func() (time.Duration, error) {
			e, err := l.entry(ctx, flow)
			return e.Timeout, err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return timeouts, numbered(err, len(timeouts)+1)
		}
		timeouts = append(timeouts, given)
	}
	return timeouts, nil
}

// Timeouts injects packets one by one and returns the timeout that the entry of a flow had after each of them; see
// Lab.Timeouts.
func (x *Experiment) Timeouts(flow nf.Tuple, packets iter.Seq[packet.Packet]) []time.Duration {
	x.t.Helper()
	timeouts := ask(x, "Timeouts", func(ctx context.Context) ([]time.Duration, error) { return x.Lab.Timeouts(ctx, flow, packets) })
	if !slices.ContainsFunc(timeouts, func(d time.Duration) bool { return d != 0 }) {
		x.earned("Timeouts", &flow)
	}
	return timeouts
}

// Classes injects packets one by one and returns what conntrack calls each of them (nf.Class), for INVALID ones with the
// reason if the kernel gives one (see observe.Reason):
//
//	[]string{"NEW", "ESTABLISHED_REPLY", "INVALID: invalid rst"}
//
// "none" means that conntrack gave it none: it was dropped before, or by conntrack itself as with a full table, or is a fragment
// that waits for others. No rule is between conntrack and where the class is logged. Each packet is sent on the link that its source is behind according to the prefixes and routes of the
// links, else on the first one. From the first call on the Env logs the class of every packet; see netnsenv.Env.Classify.
func (l *Lab) Classes(ctx context.Context, packets iter.Seq[packet.Packet]) ([]string, error) {
	if err := l.Env.Classify(ctx); err != nil {
		return nil, err
	}
	var classes []string
	for p := range packets {
		link := l.linkOf(p)
		before, err := collect(l.Observer.Classes(ctx))
		if err != nil {
			return classes, err
		}
		logged, err := collect(l.Observer.Reasons(ctx))
		if err != nil {
			return classes, err
		}
		if _, err := l.InjectOn(ctx, link, packet.Packets(p)); err != nil {
			return classes, numbered(err, len(classes)+1)
		}
		class, err := l.classSince(ctx, link, len(before), len(logged))
		if err != nil {
			return classes, fmt.Errorf("class of packet %d: %w", len(classes)+1, err)
		}
		classes = append(classes, class)
	}
	return classes, nil
}

// classSince returns the class of the first packet that came in by a link after those that were logged before. What the host
// answered left by it.
func (l *Lab) classSince(ctx context.Context, link string, classes, reasons int) (string, error) {
	all, err := collect(l.Observer.Classes(ctx))
	if err != nil {
		return "", err
	}
	logged, err := collect(l.Observer.Reasons(ctx))
	if err != nil {
		return "", err
	}
	over := append(l.Env.Config().Over(link), link) // where conntrack sees it
	for _, r := range all[classes:] {
		if !slices.Contains(over, r.Link) || r.Dir != packet.In {
			continue
		}
		text := r.Class.String()
		for _, why := range logged[reasons:] {
			here := why.Link == r.Link || why.Link == "" // see kernel.ReasonLink
			if here && r.Class == nf.ClassInvalid && string(why.Packet) == string(r.Packet) {
				return text + ": " + why.Text, nil
			}
		}
		return text, nil
	}
	return "none", nil
}

// Classes injects packets one by one and returns what conntrack calls each of them; see Lab.Classes.
func (x *Experiment) Classes(packets iter.Seq[packet.Packet]) []string {
	x.t.Helper()
	return proven(x, "Classes", ask1(x, "Classes", x.Lab.Classes, packets))
}

// numbered sets the packet number in the error of a packet that was sent by itself.
func numbered(err error, n int) error {
	var failed *inject.SendError
	if errors.As(err, &failed) {
		failed.Number = n
		return err
	}
	return fmt.Errorf("packet %d: %w", n, err)
}

// linkOf returns the name of the link that the source of a packet is behind.
func (l *Lab) linkOf(p packet.Packet) string {
	return l.Env.Config().Behind(p.Tuple().Src.Addr())
}

// States injects packets one by one and returns the state of a flow's entry after each of them; see Lab.States. Like Flow it fails
// if there was no entry and no packet was about the flow.
func (x *Experiment) States(flow nf.Tuple, packets iter.Seq[packet.Packet]) []string {
	x.t.Helper()
	states := ask(x, "States", func(ctx context.Context) ([]string, error) {
		return x.Lab.States(ctx, flow, packets)
	})
	if !slices.ContainsFunc(states, func(s string) bool { return s != "none" }) {
		x.earned("States", &flow)
	}
	return states
}
