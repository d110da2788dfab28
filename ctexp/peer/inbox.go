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
	"github.com/ctexp/go-ctexp/internal/flood"
	"github.com/ctexp/go-ctexp/internal/patience"
)

// Link is what an Inbox reads from: one link of the host under test, seen from outside. *netnsenv.Link implements it.
//
// An Inbox also uses optional methods, which *netnsenv.Link has: ReadNow([]byte) (int, error) reads without waiting,
// Lost() (uint64, error) counts packets that were not read in time, Taken() uint64 those that anybody has read, and Backlog() (packets int, by
// string, err error) those that the host has not sent yet, because a shaper or an NFQUEUE holds them. Quiet() bool
// reports that the host sends nothing on its own.
type Link interface {
	// Name returns the name of the interface in the host.
	Name() string
	// Read returns the next packet that the host has sent on the link, from the network layer on.
	Read(b []byte) (int, error)
	// SetReadDeadline sets the deadline of Read as in package net.
	SetReadDeadline(t time.Time) error
	// Fence returns when the host has processed every packet that was written to the link before.
	Fence(ctx context.Context) error
}

// Sender sends the packets of a scripted peer. *inject.Injector implements it.
type Sender interface {
	// Send sends packets, and returns their number when the host has processed them.
	Send(ctx context.Context, packets iter.Seq[packet.Packet]) (int, error)
}

// Inbox has the packets that the host under test has sent on some links and that were not taken yet. Nothing else must read
// from these links: what was read elsewhere is an error. Packets of one link are in their order; there is no order between links.
//
// The Records that it returns have Link, Dir (packet.Out), EtherType and Packet. It is safe for concurrent use.
type Inbox struct {
	// Patience is the longest time that an expectation waits for packets of the host's sockets and timers; zero means as long
	// as its context allows. Packets that the host forwards or answers in the kernel are there when an Injector's Send has
	// returned, so that the test of a router can use a millisecond. It is set before the first expectation.
	Patience time.Duration
	// AllowBacklog makes ExpectNothing and Received ignore packets that a qdisc or an NFQUEUE of the host holds. Otherwise they
	// wait for them, as long as Patience allows, and fail if packets are still held.
	AllowBacklog bool
	// Earned is asked when there is no packet that one of ms matches, or without ms, none at all: its error says why there cannot be
	// one, such as observe.ErrVacuous. Nil: that there is none always counts. A Lab sets it.
	Earned func(ctx context.Context, ms ...packet.Match) error
	// Failed is asked while an expectation waits: its error, such as that of netnsenv.Env.Failed, ends the wait. Nil: nothing
	// does. A Lab sets it.
	Failed func() error

	links []Link

	mu     sync.Mutex
	unread []packet.Record // numbered from 1 in the order of arrival
	taken  []packet.Record // the last ones, for errors
	count  int             // of all packets so far
	lost   int             // unread packets that were discarded
	missed []uint64        // packets that each link has lost, as reported so far
	read   []uint64        // packets that were read from each link, here or before NewInbox
	buf    []byte
}

const (
	maxUnread = 1 << 14 // packets, at times twice as many, so that packets that no test takes do not fill the memory
	maxTaken  = 64
)

// NewInbox returns the Inbox of links, usually all links of an Env.
func NewInbox(links ...Link) *Inbox {
	if slices.ContainsFunc(links, func(l Link) bool { return flood.IsNil(l) }) {
		panic("peer: NewInbox of a nil Link")
	}
	b := &Inbox{links: links, missed: make([]uint64, len(links)), read: make([]uint64, len(links))}
	for i, l := range links {
		if taken, ok := l.(interface{ Taken() uint64 }); ok {
			b.read[i] = taken.Taken()
		}
	}
	_ = b.missing() // earlier losses do not count
	return b
}

// missing returns an error if a link has lost packets since the last call because they were not read in time, or if somebody else has
// read some. A Link without the methods Lost and Taken never does.
func (b *Inbox) missing() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, l := range b.links {
		if taken, ok := l.(interface{ Taken() uint64 }); ok {
			if n := taken.Taken(); n > b.read[i] {
				return fmt.Errorf("%d packets that the host sent on %s are missing here: somebody else has read them from the link", n-b.read[i], l.Name())
			}
		}
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
			return fmt.Errorf("%d packets that the host sent on %s are lost: they were not read in time", n-before, l.Name())
		}
	}
	return nil
}

// Drain reads the packets from the kernel's queues, which have room for a few hundred, without waiting. If more than 32,768
// packets are unread, the older half is discarded, and the next expectation returns an error.
func (b *Inbox) Drain() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.drain()
}

func (b *Inbox) drain() error {
	for i, l := range b.links {
		for {
			p, err := b.readNow(l)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return fmt.Errorf("read from %s: %w", l.Name(), err)
			}
			r := p.On(l.Name(), packet.Out)
			b.read[i]++
			b.count++
			r.Number = b.count
			b.unread = append(b.unread, r)
			if len(b.unread) == 2*maxUnread { // so that each packet is moved only once
				b.unread = slices.Delete(b.unread, 0, maxUnread)
				b.lost += maxUnread
			}
		}
	}
	return nil
}

// readNow reads a packet without waiting. From a Link without ReadNow it waits a moment instead, since a read whose deadline
// has passed fails even if a packet is there.
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

// verdict is what an expectation does with an unread packet.
type verdict int

const (
	leave  verdict = iota // another packet is expected: it stays unread
	skip                  // it has nothing new, and is taken without ending the expectation
	take                  // it is the expected packet
	found                 // it is the expected packet, and stays unread
	refuse                // it is unexpected: the expectation fails
	giveUp                // the expected packet will not come: the expectation fails, unless that packet is already there
)

// await passes the unread packets one by one to decide until one is taken or refused, and waits for more until ctx or Patience
// ends. With an error it returns what it has seen. A refused packet stays unread.
func (b *Inbox) await(ctx context.Context, decide func(packet.Record) verdict) (packet.Record, *history, error) {
	const shortest, longest = 20 * time.Microsecond, 2 * time.Millisecond
	h := &history{}
	if b.Patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = patience.WithTimeout(ctx, b.Patience, patienceError(b.Patience))
		defer cancel()
	}
	for pause := shortest; ; pause = min(2*pause, longest) {
		over := ctx.Err() != nil // before the last scan, so that a packet that came in time counts
		var failed error
		if b.Failed != nil {
			failed = b.Failed()
		}
		r, v, err := b.scan(decide, h)
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
		case failed != nil:
			return r, h, failed
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// patienceError is the error of an expectation that has waited for Inbox.Patience.
type patienceError time.Duration

func (e patienceError) Error() string {
	return fmt.Sprintf("none within %v (Inbox.Patience)", time.Duration(e))
}
func (e patienceError) Unwrap() error { return context.DeadlineExceeded }

// scan passes the packets that are unread now to decide. It returns the packet that ends the expectation, without its number.
func (b *Inbox) scan(decide func(packet.Record) verdict, h *history) (r packet.Record, v verdict, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.drain(); err != nil {
		return packet.Record{}, leave, err
	}
	if b.lost > 0 {
		return packet.Record{}, leave, fmt.Errorf("%d unread packets were discarded: there were %d", b.lost, 2*maxUnread)
	}
	defer func() {
		h.unread, h.taken, h.total = slices.Clone(b.unread), slices.Clone(b.taken), b.count
		r.Number = 0
	}()
	var last *packet.Record // the reason to give up
	for i := 0; i < len(b.unread); {
		r := b.unread[i]
		switch v := decide(r); v {
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

// done moves unread packet i to the taken ones.
func (b *Inbox) done(i int) {
	b.taken = append(b.taken, b.unread[i])
	if extra := len(b.taken) - maxTaken; extra > 0 {
		b.taken = slices.Delete(b.taken, 0, extra)
	}
	b.unread = slices.Delete(b.unread, i, i+1)
}

// fence waits until the host has processed everything written to the links, and has sent what its qdiscs and NFQUEUEs hold.
// It fails if a packet that the host sent is lost.
func (b *Inbox) fence(ctx context.Context) error {
	for _, l := range b.links {
		if err := l.Fence(ctx); err != nil {
			return err
		}
	}
	if !b.AllowBacklog {
		if err := b.awaitBacklog(ctx); err != nil {
			return err
		}
	}
	return b.missing()
}

// awaitBacklog waits until no packet is held on any link.
func (b *Inbox) awaitBacklog(ctx context.Context) error {
	const pause = time.Millisecond
	if b.Patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = patience.WithTimeout(ctx, b.Patience, patienceError(b.Patience))
		defer cancel()
	}
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for _, l := range b.links {
		holds, ok := l.(interface {
			Backlog() (int, string, error)
		})
		if !ok {
			continue
		}
		for {
			n, by, err := holds.Backlog()
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("the host still holds packets that it may send on %s: %s (%w); if that is meant, set Inbox.AllowBacklog", l.Name(), by, context.Cause(ctx))
			case <-tick.C:
			}
		}
	}
	return nil
}

// compare compares a packet that the host has sent with m, and checks its checksums unless m excludes them.
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

// matches reports whether m matches the packet and its checksums. Only a Match that is about such packets matches noise.
func (b *Inbox) matches(m packet.Match, r packet.Record) bool {
	return (isAboutNoise(m) || !b.isNoise(r)) && accepts(m, r)
}

// isAboutNoise reports whether a Match tells noise from other packets: by ICMP, or by a multicast address.
func isAboutNoise(m packet.Match) bool {
	return m.ICMPType != nil || m.ICMPCode != nil || m.ICMPID != nil || m.Proto == nf.ICMPv6 || m.Tuple.Proto == nf.ICMPv6 ||
		m.Dst.Addr().IsMulticast() || m.DstNet.Addr().IsMulticast() || m.Exactly != nil
}

// accepts reports whether no row of compare differs.
func accepts(m packet.Match, r packet.Record) bool {
	return m.Match(r) && (m.AnyChecksum || m.Exactly != nil || r.Packet.ChecksumError() == nil)
}

// isNoise reports whether a packet is one that a host with IPv6 sends to multicast addresses at random times: the
// messages of multicast listener discovery (RFC 2710, RFC 3810) and router solicitations (RFC 4861). On a link that is Quiet the
// host sends none of them: a program does.
func (b *Inbox) isNoise(r packet.Record) bool {
	for _, l := range b.links {
		if quiet, ok := l.(interface{ Quiet() bool }); ok && l.Name() == r.Link && quiet.Quiet() {
			return false
		}
	}
	t := r.Packet.Tuple()
	if t.Proto != nf.ICMPv6 || !t.Dst.Addr().IsMulticast() {
		return false
	}
	switch t.ICMP.Type {
	case 130, 131, 132, 133, 143:
		return true
	}
	return false
}

// Expect takes the first unread packet that m matches and whose checksums are right (see packet.Match.AnyChecksum), and waits
// for one until ctx is done. The packets before it stay unread: packets of different flows may be expected in any order, and
// none is discarded. Packets that a host with IPv6 sends to multicast addresses at random times (listener reports, router
// solicitations) are matched only if m is about such: it has ICMPv6, a field of ICMP, or a multicast destination. An Env sends none.
//
// Packets that the host forwards or answers in the kernel are there when an Injector's Send has returned; those of its sockets
// and timers may come later. The error is an *ExpectationError.
func (b *Inbox) Expect(ctx context.Context, m packet.Match) (packet.Record, error) {
	if err := b.check(m); err != nil {
		return packet.Record{}, err
	}
	r, h, err := b.await(ctx, func(r packet.Record) verdict {
		if b.matches(m, r) {
			return take
		}
		return leave
	})
	if err != nil {
		return packet.Record{}, h.failure("no such packet", err, expected(m))
	}
	return r, nil
}

// ExpectNothing returns an *ExpectationError if a packet is unread that one of ms matches, whatever its checksums; without ms,
// if any packet is unread. It waits only until the host has processed everything sent to it, and for packets that a shaper or
// an NFQUEUE of the host holds (see AllowBacklog).
func (b *Inbox) ExpectNothing(ctx context.Context, ms ...packet.Match) error {
	if err := b.check(ms...); err != nil {
		return err
	}
	if len(ms) == 0 {
		ms = []packet.Match{{}}
	}
	return b.expectNone(ctx, "nothing was expected", ms, func(r packet.Record) bool {
		return slices.ContainsFunc(ms, func(m packet.Match) bool {
			m.AnyChecksum = true
			return b.matches(m, r)
		})
	})
}

// check fails if one of ms can match no packet of this Inbox, because of its link, a field of Ethernet, or fields that exclude each
// other: Expect would wait in vain, and ExpectNothing would always succeed.
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
		if m.NeedsEthernet() {
			return fmt.Errorf("the match is for %v: an Inbox has packets of IP, without frames; these are in captures (Frames)", m)
		}
		if err := m.Check(); err != nil {
			return fmt.Errorf("nothing matches %v: %w", m, err)
		}
		for about := m.About; about != nil; about = about.About {
			if about.Out != "" {
				return fmt.Errorf("Match.About.Out is %q: a packet that an ICMP error quotes has no link", about.Out)
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

// expectNone fails if an unread packet is refused, and if there could be none: none that ms match.
func (b *Inbox) expectNone(ctx context.Context, what string, ms []packet.Match, refused func(packet.Record) bool) error {
	if err := b.fence(ctx); err != nil {
		return err
	}
	h := &history{}
	_, v, err := b.scan(func(r packet.Record) verdict {
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
	if err := b.earned(ctx, ms...); err != nil {
		return fmt.Errorf("%s, and nothing could come: %w", what, err)
	}
	return nil
}

func (b *Inbox) earned(ctx context.Context, ms ...packet.Match) error {
	if b.Earned == nil {
		return nil
	}
	return b.Earned(ctx, ms...)
}

// take moves unread packets to the taken ones.
func (b *Inbox) take(packets []packet.Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range packets {
		if i := slices.IndexFunc(b.unread, func(r packet.Record) bool { return r.Number == p.Number }); i >= 0 {
			b.done(i)
		}
	}
}

// Received takes all unread packets after the host has processed everything sent to it, without those of IPv6 that Expect
// ignores. Like ExpectNothing it waits for packets that the host holds.
func (b *Inbox) Received(ctx context.Context) ([]packet.Record, error) {
	if err := b.fence(ctx); err != nil {
		return nil, err
	}
	var all []packet.Record
	_, _, err := b.scan(func(r packet.Record) verdict {
		if !b.isNoise(r) {
			r.Number = 0
			all = append(all, r)
		}
		return skip
	}, &history{})
	return all, err
}
