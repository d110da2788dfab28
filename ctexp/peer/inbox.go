package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Inbox has the packets that the host under test has sent by some links and that nobody has taken yet. Nobody else must
// read from these links. What left by one link stands in its order; between links there is none.
//
// It may be used by several goroutines at once.
type Inbox struct {
	// Patience is how long an expectation waits at most for what sockets and timers of the host send; zero is as long as its
	// context allows. What the host answers and forwards by itself is there when an Injector's Send has returned, so that a
	// router's test may do with a millisecond. It is set before anybody waits.
	Patience time.Duration

	links []inject.Link

	mu     sync.Mutex
	unread []numbered
	taken  []numbered // the last ones, for failures to tell of
	count  int        // packets that ever came
	lost   int        // unread packets that there was no room for
	missed []uint64   // packets that a link had no room for, as far as that was told of
	buf    []byte
}

// numbered is the nth packet that came, counted from 1.
type numbered struct {
	packet.Arrival
	n int
}

const (
	mostUnread = 1 << 14 // packets, and up to twice as many; what is sent to nobody must not fill the memory
	mostTaken  = 64
)

// NewInbox returns the Inbox of links, all of an Env as a rule. It reads by their method ReadNow and asks Lost for what nobody
// could read, if they have these, as *netnsenv.Link has.
func NewInbox(links ...inject.Link) *Inbox {
	if slices.Contains(links, nil) {
		panic("peer: NewInbox of a nil Link")
	}
	b := &Inbox{links: links, missed: make([]uint64, len(links))}
	_ = b.missing() // what was lost before is nobody's concern
	return b
}

// missing says how many packets were lost since it was asked last, because nobody had read them in time and a link had no
// room for more. A Link that cannot tell has lost none.
func (b *Inbox) missing() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, l := range b.links {
		counts, ok := l.(interface{ Lost() (uint64, error) })
		if !ok {
			continue
		}
		n, err := counts.Lost()
		if err != nil {
			return err
		}
		if before := b.missed[i]; n > before {
			b.missed[i] = n
			return fmt.Errorf("%d packets that the host sent by %s are lost: nobody read them in time", n-before, l.Name())
		}
	}
	return nil
}

// Drain takes the packets that are there out of the kernel's queues, which have room for some hundred, without waiting.
// Of more than 32,768 unread packets the older half is lost, and the next expectation says so.
func (b *Inbox) Drain() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.drain()
}

func (b *Inbox) drain() error {
	for _, l := range b.links {
		for {
			p, err := b.readNow(l)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return fmt.Errorf("read from %s: %w", l.Name(), err)
			}
			b.count++
			b.unread = append(b.unread, numbered{packet.Arrival{Out: l.Name(), Packet: p}, b.count})
			if len(b.unread) == 2*mostUnread { // so that each is moved but once
				b.unread = slices.Delete(b.unread, 0, mostUnread)
				b.lost += mostUnread
			}
		}
	}
	return nil
}

// readNow reads a packet without waiting. Of a Link that has no ReadNow it waits a moment instead, since a read with a deadline that
// is over does not look whether there is something.
func (b *Inbox) readNow(l inject.Link) (packet.Packet, error) {
	const moment = time.Millisecond
	if len(b.buf) < packet.MaxLength {
		b.buf = make([]byte, packet.MaxLength)
	}
	var n int
	var err error
	if now, ok := l.(interface{ ReadNow([]byte) (int, error) }); ok {
		n, err = now.ReadNow(b.buf)
	} else if err = l.SetReadDeadline(time.Now().Add(moment)); err == nil {
		n, err = l.Read(b.buf)
	}
	return slices.Clone(packet.Packet(b.buf[:n])), err
}

// verdict is what becomes of an unread packet.
type verdict int

const (
	leave  verdict = iota // it is not meant, and stays unread
	pass                  // it says nothing new, and is done with
	take                  // it is what was waited for
	found                 // it is what was waited for, and stays unread
	refuse                // it should not be: the end
	doubt                 // there is nothing to be waited for any more, unless it is there already
)

// await hands the unread packets one by one to judge until one is taken or refused, and waits for more until ctx or the
// patience ends.
// It fails with what it has seen. A packet that is refused stays unread.
func (b *Inbox) await(ctx context.Context, judge func(packet.Arrival) verdict) (packet.Arrival, *sight, error) {
	const shortest, longest = 20 * time.Microsecond, 2 * time.Millisecond
	s := &sight{}
	if b.Patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, b.Patience, patienceError(b.Patience))
		defer cancel()
	}
	for pause := shortest; ; pause = min(2*pause, longest) {
		over := ctx.Err() != nil // asked before the last look, so that what came in time counts
		a, v, err := b.look(judge, s)
		if err != nil {
			return a, s, err
		}
		switch {
		case v == take || v == found:
			return a, s, nil
		case v == refuse:
			return a, s, refusal(a)
		case over:
			return a, s, errors.Join(context.Cause(ctx), b.missing())
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

var (
	errRefused = errors.New("something else came")
	errCame    = errors.New("something came")
)

// patienceError says that an Inbox has waited long enough.
type patienceError time.Duration

func (e patienceError) Error() string {
	return fmt.Sprintf("none within %v (Inbox.Patience)", time.Duration(e))
}
func (e patienceError) Unwrap() error { return context.DeadlineExceeded }

// look judges the unread packets that are there now.
func (b *Inbox) look(judge func(packet.Arrival) verdict, s *sight) (packet.Arrival, verdict, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.drain(); err != nil {
		return packet.Arrival{}, leave, err
	}
	if b.lost > 0 {
		return packet.Arrival{}, leave, fmt.Errorf("%d packets that nobody took are lost: there were %d", b.lost, 2*mostUnread)
	}
	defer func() { s.came(b.unread, b.taken, b.count) }()
	var doubted *numbered
	for i := 0; i < len(b.unread); {
		a := b.unread[i]
		switch v := judge(a.Arrival); v {
		case leave, doubt:
			if v == doubt && doubted == nil {
				doubted = new(a)
			}
			i++
		case pass:
			s.passed = append(s.passed, a)
			b.done(i)
		case take:
			b.done(i)
			return a.Arrival, v, nil
		case found:
			return a.Arrival, v, nil
		case refuse:
			s.refused = a.n
			return a.Arrival, v, nil
		}
	}
	if doubted != nil {
		s.refused = doubted.n
		return doubted.Arrival, refuse, nil
	}
	return packet.Arrival{}, leave, nil
}

// done moves the ith unread packet to those that were taken.
func (b *Inbox) done(i int) {
	b.taken = append(b.taken, b.unread[i])
	if extra := len(b.taken) - mostTaken; extra > 0 {
		b.taken = slices.Delete(b.taken, 0, extra)
	}
	b.unread = slices.Delete(b.unread, i, i+1)
}

// fence waits until the host is done with all that was written to the links, and fails if something that it sent is lost.
func (b *Inbox) fence(ctx context.Context) error {
	for _, l := range b.links {
		if err := l.Fence(ctx); err != nil {
			return err
		}
	}
	return b.missing()
}

// means reports whether w means the packet. Noise is meant only by a Want that asks for a type of ICMP.
func means(w packet.Want, a packet.Arrival) bool {
	return (w.AsksICMP() || !isNoise(a.Packet)) && packet.Differing(w.Compare(a)) == 0
}

// isNoise reports whether a packet is what a host with IPv6 sends at random moments to introduce itself to its neighbours:
// reports of multicast listeners (RFC 3810) and router solicitations (RFC 4861).
func isNoise(p packet.Packet) bool {
	t := p.Tuple()
	if t.Proto != nf.ICMPv6 || !t.Dst.Addr().IsMulticast() {
		return false
	}
	switch t.ICMP.Type {
	case 130, 131, 132, 133, 143:
		return true
	}
	return false
}

// Expect takes the first unread packet that w means, and waits for one until ctx ends. The packets before it stay unread:
// what happens side by side may be asked for in any order, and nothing is passed over for good. What a host with IPv6 sends at
// random moments to multicast addresses (listener reports, router solicitations) only a Want with ICMPType means.
//
// The host's own answers are there when an Injector's Send has returned; what its sockets and timers send may come
// later. The error is an *UnmetError.
func (b *Inbox) Expect(ctx context.Context, w packet.Want) (packet.Arrival, error) {
	if err := b.knows(w); err != nil {
		return packet.Arrival{}, err
	}
	a, seen, err := b.await(ctx, func(a packet.Arrival) verdict {
		if means(w, a) {
			return take
		}
		return leave
	})
	if err != nil {
		return packet.Arrival{}, seen.unmet("no such packet", err, wanted{compare: w.Compare, rows: w.Rows})
	}
	return a, nil
}

// ExpectNothing reports an *UnmetError if a packet is unread that one of wants means, whatever its checksums are; without wants,
// if any is. It does not wait for more than that the host is done with all that was sent to it.
func (b *Inbox) ExpectNothing(ctx context.Context, wants ...packet.Want) error {
	if err := b.knows(wants...); err != nil {
		return err
	}
	if len(wants) == 0 {
		wants = []packet.Want{{}}
	}
	return b.expectNone(ctx, "nothing was expected", func(a packet.Arrival) verdict {
		for _, w := range wants {
			w.AnyChecksum = true
			if means(w, a) {
				return refuse
			}
		}
		return leave
	})
}

// knows fails if one of wants names a link that there is not: it would wait for nothing, or be sure of it.
func (b *Inbox) knows(wants ...packet.Want) error {
	for _, w := range wants {
		if w.Out != "" {
			if err := b.knowsLink(w.Out); err != nil {
				return err
			}
		}
		for about := w.About; about != nil; about = about.About {
			if about.Out != "" {
				return fmt.Errorf("Want.About.Out is %q: what an ICMP error quotes has left by no link", about.Out)
			}
		}
	}
	return nil
}

func (b *Inbox) knowsLink(name string) error {
	var names []string
	for _, l := range b.links {
		if l.Name() == name {
			return nil
		}
		names = append(names, l.Name())
	}
	switch len(names) {
	case 0:
		return fmt.Errorf("no link %q: there is none", name)
	case 1:
		return fmt.Errorf("no link %q; there is %s", name, names[0])
	}
	return fmt.Errorf("no link %q; there are %s", name, strings.Join(names, ", "))
}

// expectNone fails if judge refuses an unread packet.
func (b *Inbox) expectNone(ctx context.Context, what string, judge func(packet.Arrival) verdict) error {
	if err := b.fence(ctx); err != nil {
		return err
	}
	s := &sight{}
	_, v, err := b.look(judge, s)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", what, err)
	case v == refuse:
		return s.unmet(what, errCame, wanted{})
	}
	return nil
}

// Received takes all unread packets, when the host is done with all that was sent to it. The random ones of IPv6 that Expect
// passes over are left out here, too.
func (b *Inbox) Received(ctx context.Context) ([]packet.Arrival, error) {
	if err := b.fence(ctx); err != nil {
		return nil, err
	}
	var all []packet.Arrival
	s := &sight{}
	_, _, err := b.look(func(a packet.Arrival) verdict {
		if !isNoise(a.Packet) {
			all = append(all, a)
		}
		return pass
	}, s)
	return all, err
}
