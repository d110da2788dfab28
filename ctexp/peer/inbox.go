package peer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Link is what an Inbox reads from: one link of a host under test, seen from outside. *netnsenv.Link is one.
type Link interface {
	// Name returns the name of the interface that the host sees.
	Name() string
	// Read returns the next packet that left by the link, from the network layer on.
	Read(b []byte) (int, error)
	// SetReadDeadline bounds Read as in package net.
	SetReadDeadline(t time.Time) error
	// Fence returns when the host is done with every packet that was written to the link before.
	Fence(ctx context.Context) error
}

// Sender is what a scripted peer sends by. *inject.Injector is one.
type Sender interface {
	// Send sends packets, and returns how many when the host is done with them.
	Send(ctx context.Context, packets iter.Seq[packet.Packet]) (int, error)
}

// Inbox has the packets that the host under test has sent by some links and that were not taken yet. Nothing else must
// read from these links. What left by one link stands in its order; between links there is none.
//
// The Records that it returns have Link, Dir (packet.Out), EtherType and Packet. It may be used by several goroutines at once.
type Inbox struct {
	// Patience is how long an expectation waits at most for what sockets and timers of the host send; zero is as long as its
	// context allows. What the host answers and forwards by itself is there when an Injector's Send has returned, so that a
	// router's test may do with a millisecond. It is set before the first expectation.
	Patience time.Duration

	links []Link

	mu     sync.Mutex
	unread []packet.Record // numbered from 1 as they came
	taken  []packet.Record // the last ones, for errors to list
	count  int             // packets that ever came
	lost   int             // unread packets that there was no room for
	missed []uint64        // packets that each link had no room for, as reported so far
	buf    []byte
}

const (
	mostUnread = 1 << 14 // packets, and up to twice as many; packets that no test takes must not fill the memory
	mostTaken  = 64
)

// NewInbox returns the Inbox of links, all of an Env as a rule. It reads by their method ReadNow and asks Lost for what was
// not read in time, if they have these, as *netnsenv.Link has.
func NewInbox(links ...Link) *Inbox {
	if slices.Contains(links, nil) {
		panic("peer: NewInbox of a nil Link")
	}
	b := &Inbox{links: links, missed: make([]uint64, len(links))}
	_ = b.missing() // what was lost before does not count
	return b
}

// missing says how many packets were lost since the last call, because nothing had read them in time and a link had no
// room for more. A Link without Lost has lost none.
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
			r := p.On(l.Name(), packet.Out)
			b.count++
			r.Number = b.count
			b.unread = append(b.unread, r)
			if len(b.unread) == 2*mostUnread { // so that each is moved only once
				b.unread = slices.Delete(b.unread, 0, mostUnread)
				b.lost += mostUnread
			}
		}
	}
	return nil
}

// readNow reads a packet without waiting. From a Link without ReadNow it waits a moment instead: a read whose deadline is over
// does not look whether there is something.
func (b *Inbox) readNow(l Link) (packet.Packet, error) {
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
	leave  verdict = iota // another packet is expected: it stays unread
	skip                  // it says nothing new, and is taken without ending the expectation
	take                  // it is the expected one
	found                 // it is the expected one, and stays unread
	refuse                // it should not be there: the expectation fails
	giveUp                // the expected packet will not come: the expectation fails, unless that packet is there already
)

// await hands the unread packets one by one to judge until one is taken or refused, and waits for more until ctx or the
// patience ends. It fails with what it has seen. A packet that is refused stays unread.
func (b *Inbox) await(ctx context.Context, judge func(packet.Record) verdict) (packet.Record, *history, error) {
	const shortest, longest = 20 * time.Microsecond, 2 * time.Millisecond
	h := &history{}
	if b.Patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, b.Patience, patienceError(b.Patience))
		defer cancel()
	}
	for pause := shortest; ; pause = min(2*pause, longest) {
		over := ctx.Err() != nil // asked before the last look, so that what came in time counts
		r, v, err := b.look(judge, h)
		if err != nil {
			return r, h, err
		}
		switch {
		case v == take || v == found:
			return r, h, nil
		case v == refuse:
			return r, h, refusal(r)
		case over:
			return r, h, errors.Join(context.Cause(ctx), b.missing())
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// patienceError says that an Inbox has waited long enough.
type patienceError time.Duration

func (e patienceError) Error() string {
	return fmt.Sprintf("none within %v (Inbox.Patience)", time.Duration(e))
}
func (e patienceError) Unwrap() error { return context.DeadlineExceeded }

// look judges the unread packets that are there now. The packet that it returns has no number any more.
func (b *Inbox) look(judge func(packet.Record) verdict, h *history) (r packet.Record, v verdict, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.drain(); err != nil {
		return packet.Record{}, leave, err
	}
	if b.lost > 0 {
		return packet.Record{}, leave, fmt.Errorf("%d packets that nobody took are lost: there were %d", b.lost, 2*mostUnread)
	}
	defer func() {
		h.unread, h.taken, h.total = slices.Clone(b.unread), slices.Clone(b.taken), b.count
		r.Number = 0
	}()
	var last *packet.Record // the reason to give up
	for i := 0; i < len(b.unread); {
		r := b.unread[i]
		switch v := judge(r); v {
		case leave, giveUp:
			if v == giveUp && last == nil {
				last = &r
			}
			i++
		case skip:
			h.skipped = append(h.skipped, r)
			b.done(i)
		case take:
			b.done(i)
			return r, v, nil
		case found:
			return r, v, nil
		case refuse:
			h.refused = r.Number
			return r, v, nil
		}
	}
	if last != nil {
		h.refused = last.Number
		return *last, refuse, nil
	}
	return packet.Record{}, leave, nil
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

// compare compares a packet that the host has sent with m, and its checksums unless m says that they do not count.
func compare(m packet.Match, r packet.Record) packet.Rows {
	rows := m.Compare(r)
	if !m.AnyChecksum && m.Exactly == nil {
		addChecksum(&rows, r.Packet)
	}
	return rows
}

// addChecksum adds a row if a checksum is wrong.
func addChecksum(rows *packet.Rows, p packet.Packet) {
	if err := p.ChecksumError(); err != nil {
		rows.Add("checksum", "right", err.Error())
	}
}

// isMeant reports whether m means the packet. Noise is meant only by a Match that asks for a message of ICMP.
func isMeant(m packet.Match, r packet.Record) bool {
	asked := m.ICMPType != nil || m.ICMPCode != nil || m.ICMPID != nil
	return (asked || !isNoise(r.Packet)) && compare(m, r).Differing() == 0
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

// Expect takes the first unread packet that m means and whose checksums are right (see packet.Match.AnyChecksum), and waits
// for one until ctx ends. The packets before it stay unread: what happens side by side may be asked for in any order, and
// no packet is dropped for good. What a host with IPv6 sends at random moments to multicast addresses (listener reports,
// router solicitations) only a Match with ICMPType means.
//
// The host's own answers are there when an Injector's Send has returned; what its sockets and timers send may come
// later. The error is an *ExpectationError.
func (b *Inbox) Expect(ctx context.Context, m packet.Match) (packet.Record, error) {
	if err := b.check(m); err != nil {
		return packet.Record{}, err
	}
	r, h, err := b.await(ctx, func(r packet.Record) verdict {
		if isMeant(m, r) {
			return take
		}
		return leave
	})
	if err != nil {
		return packet.Record{}, h.failure("no such packet", err, expected(m))
	}
	return r, nil
}

// ExpectNothing reports an *ExpectationError if a packet is unread that one of ms means, whatever its checksums are; without ms,
// if any is. It does not wait for more than that the host is done with all that was sent to it.
func (b *Inbox) ExpectNothing(ctx context.Context, ms ...packet.Match) error {
	if err := b.check(ms...); err != nil {
		return err
	}
	if len(ms) == 0 {
		ms = []packet.Match{{}}
	}
	return b.expectNone(ctx, "nothing was expected", func(r packet.Record) bool {
		return slices.ContainsFunc(ms, func(m packet.Match) bool {
			m.AnyChecksum = true
			return isMeant(m, r)
		})
	})
}

// check fails if one of ms means no packet of this Inbox, by its link: an expectation would wait in vain, or always hold.
func (b *Inbox) check(ms ...packet.Match) error {
	for _, m := range ms {
		if m.In != "" {
			return fmt.Errorf("Match.In is %q: an Inbox has what the host sends, see Match.Out", m.In)
		}
		if m.Out != "" {
			if err := b.checkLink(m.Out); err != nil {
				return err
			}
		}
		for about := m.About; about != nil; about = about.About {
			if about.Out != "" {
				return fmt.Errorf("Match.About.Out is %q: what an ICMP error quotes has left by no link", about.Out)
			}
		}
	}
	return nil
}

func (b *Inbox) checkLink(name string) error {
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

// expectNone fails if there is an unread packet that should not be there.
func (b *Inbox) expectNone(ctx context.Context, what string, refused func(packet.Record) bool) error {
	if err := b.fence(ctx); err != nil {
		return err
	}
	h := &history{}
	_, v, err := b.look(func(r packet.Record) verdict {
		if refused(r) {
			return refuse
		}
		return leave
	}, h)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", what, err)
	case v == refuse:
		return h.failure(what, errCame, expectation{})
	}
	return nil
}

// Received takes all unread packets, when the host is done with all that was sent to it. The random ones of IPv6 that Expect
// leaves alone are left out here, too.
func (b *Inbox) Received(ctx context.Context) ([]packet.Record, error) {
	if err := b.fence(ctx); err != nil {
		return nil, err
	}
	var all []packet.Record
	_, _, err := b.look(func(r packet.Record) verdict {
		if !isNoise(r.Packet) {
			r.Number = 0
			all = append(all, r)
		}
		return skip
	}, &history{})
	return all, err
}
