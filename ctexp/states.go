package ctexp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/netip"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// States injects packets one by one and returns how the entry of a flow is after each of them, as nf.Entry.Brief says it:
//
//	[]string{"SYN_SENT [UNREPLIED]", "SYN_RECV", "ESTABLISHED [ASSURED]"}
//
// "none" says that there is no entry. The flow is named by a tuple of either direction, in zone 0. Each packet comes by
// the link that its source is behind, going by the prefixes and routes of the links, or else by the first one.
func (l *Lab) States(ctx context.Context, flow nf.Tuple, packets iter.Seq[inject.Packet]) ([]string, error) {
	var states []string
	for p := range packets {
		if _, err := l.InjectBy(ctx, l.linkOf(p), inject.Packets(p)); err != nil {
			return states, numbered(err, len(states)+1)
		}
		e, err := l.Observer.Get(ctx, flow, 0)
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

// numbered gives a packet that could not be sent its number among those that were sent one by one.
func numbered(err error, n int) error {
	var failed *inject.SendError
	if errors.As(err, &failed) {
		failed.Number = n
		return err
	}
	return fmt.Errorf("packet %d: %w", n, err)
}

// linkOf returns the name of the link that the source of a packet is behind.
func (l *Lab) linkOf(p inject.Packet) string {
	links := l.Env.Config().Links
	if len(links) == 0 {
		return ""
	}
	best, name := -1, links[0].Name
	for _, link := range links {
		if bits := behind(link, p.Tuple().Src.Addr()); bits > best {
			best, name = bits, link.Name
		}
	}
	return name
}

// behind returns the length of the longest prefix by which an address is behind a link, or -1.
func behind(link netnsenv.LinkConfig, a netip.Addr) int {
	best := -1
	for _, prefixes := range [][]netip.Prefix{link.Prefixes, link.Routes} {
		for _, p := range prefixes {
			if p.Masked().Contains(a) {
				best = max(best, p.Bits())
			}
		}
	}
	return best
}

// States injects packets one by one and returns how the entry of a flow is after each of them; see Lab.States.
func (x *Experiment) States(flow nf.Tuple, packets iter.Seq[inject.Packet]) []string {
	x.t.Helper()
	return ask(x, "States", func(ctx context.Context) ([]string, error) {
		return x.Lab.States(ctx, flow, packets)
	})
}
