package inject

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ctexp/go-ctexp/internal/header"
)

// replaying is a Replay on its way.
type replaying struct {
	Replay
	remap remap
	links map[string]*Injector
	first string
	last  *Injector // the link of the packet before
	clock paceClock
	done  Replayed
}

// byName is the rule where there is none.
func (s *replaying) byName(r Recorded) string {
	if r.Dir == DirOut {
		return ""
	}
	if s.links[r.Link] != nil {
		return r.Link
	}
	return s.first
}

// packet sends a packet, or counts why it does not.
func (s *replaying) packet(ctx context.Context, r Recorded) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !r.isIP() {
		s.done.NotIP++
		return nil
	}
	if !s.remap.none() || s.FixChecksums {
		r.Packet = slices.Clone(r.Packet) // it is the sequence's
	}
	s.remap.rewrite(r.Packet)
	name := s.By(r)
	if name == "" {
		s.done.LeftOut++
		return nil
	}
	to := s.links[name]
	if to == nil {
		return fmt.Errorf("there is no link %q; there are %s", name, strings.Join(slices.Sorted(maps.Keys(s.links)), ", "))
	}
	if s.Untag {
		r.Tags = nil
	}
	if len(r.Tags) > 0 && to.ethernet() == nil {
		s.done.Tagged++
		return nil
	}
	if r.cut() {
		if s.SkipCut {
			s.done.Cut++
			return nil
		}
		return fmt.Errorf("%d of its %d bytes were recorded (the snap length was too small); SkipCut leaves such packets out",
			len(r.Packet), r.Length)
	}
	if s.FixChecksums {
		header.FixSums(r.Packet)
	}
	return s.send(ctx, to, name, r)
}

func (s *replaying) send(ctx context.Context, to *Injector, name string, r Recorded) error {
	if s.last != nil && s.last != to {
		if err := s.last.fence(ctx); err != nil {
			return fmt.Errorf("before it: %w", err)
		}
	}
	s.last = to
	if err := s.clock.wait(ctx, r.Time); err != nil {
		return err
	}
	if err := to.writeRecorded(r); err != nil {
		return fmt.Errorf("to %s: %w", name, err)
	}
	s.done.Sent++
	s.done.ByLink[name]++
	return nil
}

// writeRecorded sends a packet with its tags, between the addresses that packets without any have.
func (i *Injector) writeRecorded(r Recorded) error {
	if len(r.Tags) == 0 {
		return i.writeOne(r.Packet, i.link.MTU())
	}
	link := i.ethernet()
	f := frame(link.PeerHardwareAddr(), link.HardwareAddr(), r.EtherType, r.Packet)
	return writeFrame(link, slices.Insert(f, 12, r.Tags...))
}

// end makes what was sent final.
func (s *replaying) end(ctx context.Context, err error) (Replayed, error) {
	if s.last != nil {
		err = errors.Join(err, s.last.fence(ctx))
	}
	if err != nil {
		err = fmt.Errorf("replay: %w", err)
	}
	return s.done, err
}

// paceClock says when a packet is due.
type paceClock struct {
	pace     float64       // 0: at once
	start    time.Time     // when the first packet was sent
	recorded time.Time     // when that was recorded
	due      time.Duration // after start: the latest packet
	timer    *time.Timer
}

// wait waits until a packet that was recorded at that time is due.
func (c *paceClock) wait(ctx context.Context, recorded time.Time) error {
	if c.pace == 0 || recorded.IsZero() {
		return nil
	}
	if c.start.IsZero() {
		c.start, c.recorded = time.Now(), recorded
		return nil
	}
	c.due = max(c.due, time.Duration(float64(recorded.Sub(c.recorded))/c.pace))
	d := time.Until(c.start.Add(c.due))
	if d <= 0 {
		return nil
	}
	if c.timer == nil {
		c.timer = time.NewTimer(d)
	} else {
		c.timer.Reset(d)
	}
	select {
	case <-c.timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("while it was waited for: %w", ctx.Err())
	}
}

func (c *paceClock) stop() {
	if c.timer != nil {
		c.timer.Stop()
	}
}
