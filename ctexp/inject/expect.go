package inject

import (
	"context"
	"fmt"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// means reports whether w means the packet. Noise is meant only by a Want that asks for a type of ICMP.
func means(w Want, a Arrival) bool {
	return (w.asksICMP() || !isNoise(a.Packet)) && differing(w.Compare(a)) == 0
}

// isNoise reports whether a packet is what a host with IPv6 sends at random moments to introduce itself to its neighbours:
// reports of multicast listeners (RFC 3810) and router solicitations (RFC 4861).
func isNoise(p Packet) bool {
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
func (b *Inbox) Expect(ctx context.Context, w Want) (Arrival, error) {
	if err := b.knows(w); err != nil {
		return Arrival{}, err
	}
	a, seen, err := b.await(ctx, func(a Arrival) verdict {
		if means(w, a) {
			return take
		}
		return leave
	})
	if err != nil {
		return Arrival{}, seen.unmet("no such packet", err, wanted{compare: w.Compare, rows: w.rows})
	}
	return a, nil
}

// ExpectNothing reports an *UnmetError if a packet is unread that one of wants means, whatever its checksums are; without wants,
// if any is. It does not wait for more than that the host is done with all that was sent to it.
func (b *Inbox) ExpectNothing(ctx context.Context, wants ...Want) error {
	if err := b.knows(wants...); err != nil {
		return err
	}
	if len(wants) == 0 {
		wants = []Want{{}}
	}
	return b.expectNone(ctx, "nothing was expected", func(a Arrival) verdict {
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
func (b *Inbox) knows(wants ...Want) error {
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
func (b *Inbox) expectNone(ctx context.Context, what string, judge func(Arrival) verdict) error {
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
func (b *Inbox) Received(ctx context.Context) ([]Arrival, error) {
	if err := b.fence(ctx); err != nil {
		return nil, err
	}
	var all []Arrival
	s := &sight{}
	_, _, err := b.look(func(a Arrival) verdict {
		if !isNoise(a.Packet) {
			all = append(all, a)
		}
		return pass
	}, s)
	return all, err
}
