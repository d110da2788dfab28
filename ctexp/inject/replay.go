package inject

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
)

// Replay says how a recording is sent. The zero Replay sends what came in where it was recorded, as fast as possible.
type Replay struct {
	// Remap changes addresses and ports.
	Remap Remap
	// By returns the name of the link by which a packet goes in, "" if it is to be left out; Ways is a table that does. It is
	// asked with the packet as it will be sent, remapped. Nil: what the recording host sent itself (DirOut) is left out, and
	// everything else goes by the link whose name is that of the recorded one, or else by the first.
	By func(Recorded) string
	// Pace is how much faster than it was recorded it is sent: 1 at the recorded pace, 2 in half of the time. Zero: as fast
	// as possible. A packet without a time, or with an earlier one than the packet before it, is sent at once.
	Pace float64
	// SkipCut leaves out packets that the recording cut (its snap length was too small) and counts them; else the first
	// such packet is an error.
	SkipCut bool
	// FixChecksums makes all checksums right. Those of packets that a host recorded of itself are mostly not: its network
	// card was to fill them in.
	FixChecksums bool
	// Untag sends packets without the tags of VLANs that they have. Else these are sent by links with Ethernet (veth), and
	// what has one and would go by another link (tun) is left out and counted: its host cannot see the tag.
	Untag bool
}

// Replayed is what came of a Replay.
type Replayed struct {
	Read    int            // packets of the recording
	Sent    int            // packets that were sent
	ByLink  map[string]int // Sent, by the name of the link
	LeftOut int            // packets that no link was chosen for
	NotIP   int            // packets that are neither IPv4 nor IPv6, which are not sent
	Cut     int            // packets left out by SkipCut
	Tagged  int            // packets left out as they have a tag and their link no Ethernet; Untag sends them
}

// String returns "9 packets read: 5 sent (tun0 3, tun1 2), 2 left out, 1 not IP, 1 cut".
func (r Replayed) String() string {
	var links []string
	for _, name := range slices.Sorted(maps.Keys(r.ByLink)) {
		links = append(links, fmt.Sprintf("%s %d", name, r.ByLink[name]))
	}
	s := fmt.Sprintf("%s read: %d sent", counted(r.Read, "packet"), r.Sent)
	if len(links) > 0 {
		s += " (" + strings.Join(links, ", ") + ")"
	}
	for _, c := range []struct {
		n    int
		what string
	}{{r.LeftOut, "left out"}, {r.NotIP, "not IP"}, {r.Cut, "cut"}, {r.Tagged, "tagged, by links without Ethernet"}} {
		if c.n > 0 {
			s += fmt.Sprintf(", %d %s", c.n, c.what)
		}
	}
	return s
}

// counted returns "1 packet", "2 packets".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Send sends a recording by the links, in its order: before a packet goes by another link than the one before it, the host
// under test is done with that, which makes each change of the link some 40 µs dearer, on veth 150; when Send returns, with all
// of them. The recording is ReadRecording's, or what was made of it.
//
// What cannot be sent ends it: an error in the recording, a packet that was cut, is larger than the link's MTU, or whose
// link is not there. The error tells the packet's number; what was before it has been sent and is final.
func (r Replay) Send(ctx context.Context, recording iter.Seq2[Recorded, error], links ...Link) (Replayed, error) {
	if recording == nil {
		panic("inject: Replay of a nil sequence")
	}
	s, err := r.begin(links)
	if err != nil {
		return Replayed{}, fmt.Errorf("replay: %w", err)
	}
	defer s.clock.stop()
	for rec, err := range recording {
		if err == nil {
			s.done.Read++
			if err = s.packet(ctx, rec); err != nil {
				err = fmt.Errorf("packet %d: %w", rec.Number, err)
			}
		}
		if err != nil {
			return s.end(ctx, err)
		}
	}
	return s.end(ctx, nil)
}

func (r Replay) begin(links []Link) (*replaying, error) {
	if len(links) == 0 {
		return nil, errors.New("there is no link")
	}
	if r.Pace < 0 || math.IsNaN(r.Pace) || math.IsInf(r.Pace, 0) {
		return nil, fmt.Errorf("pace %v: want 0, or how many times faster", r.Pace)
	}
	m, err := r.Remap.compile()
	if err != nil {
		return nil, err
	}
	s := &replaying{
		Replay: r, remap: m, links: map[string]*Injector{}, first: links[0].Name(),
		clock: paceClock{pace: r.Pace}, done: Replayed{ByLink: map[string]int{}},
	}
	for _, l := range links {
		s.links[l.Name()] = New(l)
	}
	if s.By == nil {
		s.By = s.byName
	}
	return s, nil
}
