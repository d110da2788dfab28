package model

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/jiffies"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// Place is where an end of the conversations is.
type Place struct {
	// Link is the name of the link that the end is behind. Empty: the end is the host under test itself, which does what it
	// likes; the steps of that end are left out.
	Link string
	// Addr is the IPv4 address of the end, and the port of its service (zero: 80), to which the other end opens conversations.
	// The end that opens one has a port of its own for it, from 1024 on; but see Conversation.Answers.
	Addr netip.AddrPort
}

// servicePort returns the port of the end's service.
func (p Place) servicePort() uint16 {
	if p.Addr.Port() == 0 {
		return 80
	}
	return p.Addr.Port()
}

// History is what became of a Conversation.
type History struct {
	Conversation
	Ends     [2]Place    // where A and B are
	Happened []Happening // for each of the Steps
}

// Happening is what became of a step.
type Happening struct {
	// Sent is the packet as it was sent to the host; nil if time passed or the end is the host itself.
	Sent packet.Packet
	// Delivered is the packet as it left the host on the link of the other end; nil if it did not. Its IP identification is
	// that of Sent, by which it is recognised, and with Classes its TOS is theirs.
	Delivered packet.Packet
	// Class is what conntrack said of the packet, if it was delivered and Classes are loaded; else zero.
	Class nf.CTState
	// Dir is the packet's direction in its flow, if Class is there and not INVALID; else zero.
	Dir nf.Direction
	// Entries are those of the conversation after the step: at most one, or two of ICMP.
	Entries []nf.Entry
	// Took bounds the time on the kernel's clock since the conversation's step before, from before that began until the table
	// was read after this.
	Took time.Duration
}

// codes are the verdicts by the DSCP that Classes write.
var codes = [...]verdict{
	{}, {nf.StateNew, nf.Original}, {nf.StateNew, nf.Reply}, {nf.StateEstablished, nf.Original}, {nf.StateEstablished, nf.Reply},
	{nf.StateRelated, nf.Original}, {nf.StateRelated, nf.Reply}, {class: nf.StateInvalid}, {class: nf.StateUntracked},
}

// classOf returns what Classes wrote into a packet.
func classOf(p packet.Packet) verdict {
	if code := int(p[1] >> 2); code < len(codes) {
		return codes[code]
	}
	return verdict{}
}

// holder holds conversations in a Lab, all of them at once: one step of each, then one look at the links and the table.
type holder struct {
	lab  *ctexp.Lab
	ends [2]Place
	all  []*talk
	of   map[nf.Tuple]*talk // by the tuples of packets sent
	// jiffy is the kernel's, and began its time at the beginning of the round.
	jiffy, began time.Duration
}

// talk is a conversation that is being held.
type talk struct {
	History
	tuples []nf.Tuple        // of its packets, without those of the other direction
	next   int               // the next step
	turn   bool              // it made a step in this round
	seen   time.Duration     // on the kernel's clock: when the last step began
	me     [2]netip.AddrPort // of each end, as it knows itself, and
	peer   [2]netip.AddrPort // as it knows the other: with NAT they differ
}

// hold holds conversations, which must pass the same times, and returns what became of them. At the end the table is flushed.
func hold(ctx context.Context, lab *ctexp.Lab, ends [2]Place, cs []Conversation) ([]History, error) {
	h := &holder{lab: lab, ends: ends, of: map[nf.Tuple]*talk{}}
	now, err := jiffies.Now()
	if err == nil {
		h.jiffy, err = jiffies.Size()
	}
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	for i, c := range cs {
		if i > maxPort-minPort {
			return nil, fmt.Errorf("model: %d conversations at once: want at most %d", len(cs), maxPort-minPort)
		}
		h.all = append(h.all, newTalk(c, ends, uint16(minPort+i), now))
	}
	for {
		more, err := h.round(ctx)
		if err != nil {
			return nil, fmt.Errorf("model: %w", err)
		}
		if !more {
			break
		}
	}
	if err := h.close(ctx); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	histories := make([]History, len(h.all))
	for i, t := range h.all {
		histories[i] = t.History
	}
	return histories, nil
}

// The ports of ends that open conversations.
const minPort, maxPort = 1024, 65535

func newTalk(c Conversation, ends [2]Place, port uint16, now time.Duration) *talk {
	t := &talk{History: History{Conversation: c, Ends: ends, Happened: make([]Happening, len(c.Steps))}, seen: now}
	opener := c.Opener()
	for e := A; e <= B; e++ {
		own := ends[e].servicePort()
		if (e == opener) != c.Answers || c.Proto == nf.ICMP { // there it is the identifier
			own = port
		}
		t.me[e] = netip.AddrPortFrom(ends[e].Addr.Addr(), own)
	}
	t.peer = [2]netip.AddrPort{t.me[B], t.me[A]}
	return t
}

// due returns the conversations whose next step sends a packet, and those whose next step lets time pass.
func (h *holder) due() (sending, passing []*talk) {
	for _, t := range h.all {
		switch {
		case t.next == len(t.Steps):
		case t.Steps[t.next].Pass > 0:
			passing = append(passing, t)
		default:
			sending = append(sending, t)
		}
	}
	return sending, passing
}

// round makes one step of each conversation that has one; time passes when all that are left wait for it. false: all have
// ended.
func (h *holder) round(ctx context.Context) (bool, error) {
	var err error
	if h.began, err = jiffies.Now(); err != nil {
		return false, err
	}
	sending, passing := h.due()
	switch {
	case len(sending) > 0:
		return true, h.send(ctx, sending)
	case len(passing) > 0:
		d := passing[0].Steps[passing[0].next].Pass
		for _, t := range passing {
			if other := t.Steps[t.next].Pass; other != d {
				return false, fmt.Errorf("of conversations at once one lets %v pass and another %v", d, other)
			}
		}
		if _, err := h.lab.Age(ctx, d); err != nil {
			return false, err
		}
		return true, h.look(ctx, passing)
	}
	return false, nil
}

// send sends the next packet of each of the conversations.
func (h *holder) send(ctx context.Context, ts []*talk) error {
	for e := A; e <= B; e++ {
		if h.ends[e].Link == "" {
			continue
		}
		var out []packet.Packet
		for i, t := range ts {
			s := t.Steps[t.next]
			if s.From != e {
				continue
			}
			p := s.packet(t.Proto, t.me[e], t.peer[e], uint16(i+1))
			t.Happened[t.next].Sent = p
			out = append(out, p)
			tuple := p.Tuple()
			if h.of[tuple] == nil {
				t.tuples = append(t.tuples, tuple)
				h.of[tuple], h.of[tuple.Reverse()] = t, t
			}
		}
		if len(out) == 0 {
			continue
		}
		if _, err := h.lab.InjectOn(ctx, h.ends[e].Link, slices.Values(out)); err != nil {
			return err
		}
	}
	got, err := h.lab.Inbox.Received(ctx)
	if err != nil {
		return err
	}
	for _, r := range got {
		h.deliver(ts, r)
	}
	return h.look(ctx, ts)
}

// deliver finds which packet has left the host.
func (h *holder) deliver(ts []*talk, r packet.Record) {
	p := r.Packet
	if len(p) < ipv4Header || p[0]>>4 != 4 {
		return
	}
	i := int(binary.BigEndian.Uint16(p[4:])) - 1
	if i < 0 || i >= len(ts) {
		return
	}
	t := ts[i]
	to := t.Steps[t.next].From.Other()
	happened := &t.Happened[t.next]
	if sent := happened.Sent; sent == nil || r.Link != h.ends[to].Link || len(p) != len(sent) || p[9] != sent[9] || p[8] >= sent[8] {
		return // something of the host's own
	}
	happened.Delivered = p
	v := classOf(p)
	happened.Class, happened.Dir = v.class, v.dir
	if tuple := p.Tuple(); !tuple.Proto.IsICMP() {
		t.me[to], t.peer[to] = tuple.Dst, tuple.Src
	} else {
		t.me[to] = netip.AddrPortFrom(tuple.Dst.Addr(), tuple.ICMP.ID)
		t.peer[to] = netip.AddrPortFrom(tuple.Src.Addr(), tuple.ICMP.ID)
	}
}

// look reads the table and ends the step of the conversations.
func (h *holder) look(ctx context.Context, ts []*talk) error {
	for _, t := range ts {
		t.turn = true
	}
	err := h.entries(ctx, ts, func(e nf.Entry) {
		t := h.of[e.Orig]
		if t == nil {
			t = h.of[e.Reply]
		}
		if t != nil && t.turn {
			done := &t.Happened[t.next]
			done.Entries = append(done.Entries, e)
		}
	})
	now, clockErr := jiffies.Now()
	for _, t := range ts {
		t.Happened[t.next].Took = now - t.seen + 2*h.jiffy // each reading of the clock is exact to a jiffy
		t.seen, t.turn = h.began, false
		t.next++
	}
	return errors.Join(err, clockErr)
}

// few is the number of conversations up to which their entries are asked for one by one: a dump walks the hash table of the
// whole host, which takes as long as a hundred requests.
const few = 30

// entries calls f for each entry of the conversations, and perhaps for others.
func (h *holder) entries(ctx context.Context, ts []*talk, f func(nf.Entry)) error {
	if len(ts) > few {
		return eachEntry(ctx, h.lab, f)
	}
	seen := map[nf.Tuple]bool{} // original tuples
	for _, t := range ts {
		for _, tuple := range t.tuples {
			e, err := h.lab.Observer.Get(ctx, tuple, 0)
			if errors.Is(err, fs.ErrNotExist) || err == nil && seen[e.Orig] {
				continue
			}
			if err != nil {
				return err
			}
			seen[e.Orig] = true
			f(e)
		}
	}
	return nil
}

// eachEntry calls f for each entry of the table.
func eachEntry(ctx context.Context, lab *ctexp.Lab, f func(nf.Entry)) error {
	for e, err := range lab.Observer.Flows(ctx, nf.Filter{}) {
		if unknown := (*nfnl.UnknownError)(nil); errors.As(err, &unknown) {
			return nil // the last one; attributes of newer kernels are not needed
		} else if err != nil {
			return err
		}
		f(e)
	}
	return nil
}

// close empties the table. It is an error if the kernel's count differs from what the table has, or if anything is left.
func (h *holder) close(ctx context.Context) error {
	var all []nf.Entry
	if err := h.entries(ctx, h.all, func(e nf.Entry) { all = append(all, e) }); err != nil {
		return err
	}
	count, err := h.lab.Observer.Count(ctx)
	if err != nil {
		return err
	}
	if count > len(all) && len(h.all) > few { // fewer: some may have expired since
		return fmt.Errorf("the kernel counts %d entries, but the table has %d", count, len(all))
	}
	if count <= few {
		for _, e := range all { // a flush walks the hash table of the whole host
			if err := h.lab.Env.Table().Delete(e); err != nil && !errors.Is(err, syscall.ENOENT) {
				return err
			}
		}
	}
	for range 2 {
		if count, err = h.lab.Observer.Count(ctx); err != nil || count == 0 {
			return err
		}
		if _, err = h.lab.Flush(ctx); err != nil {
			return err
		}
	}
	return fmt.Errorf("after a flush %d entries are left", count)
}
