package ctexp

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// isSomewhere returns an error if an address is not behind a link and no captured packet was about it: nothing comes to an end that is
// there by mistake. What was not captured cannot be told.
func (l *Lab) isSomewhere(ctx context.Context, link string, a netip.Addr) error {
	if l.Observer.VacuousAllowed() || l.Env.Config().IsBehind(a, link) {
		return nil
	}
	for f, err := range l.Observer.Frames(ctx) {
		if t := f.Packet.Tuple(); err != nil || t.Src.Addr() == a || t.Dst.Addr() == a {
			return nil
		}
	}
	return fmt.Errorf("%w: %v is not behind %s, see the link's Prefixes and Routes, and no packet was ever about it; if that is meant, call x.AllowVacuous",
		observe.ErrVacuous, a, link)
}

// isTraced returns an error if the host has rules that no trace shows, so that an empty one says nothing.
func (l *Lab) isTraced(ctx context.Context) error {
	if l.Observer.VacuousAllowed() {
		return nil
	}
	rules, err := l.Observer.Rules(ctx)
	if err != nil {
		return err
	}
	legacy := func(r observe.Rule) bool {
		return r.Backend == string(netnsenv.IPTablesLegacy) && r.Kind == observe.KindRule
	}
	if i := slices.IndexFunc(rules, legacy); i >= 0 {
		return fmt.Errorf("there is nothing, but rules of iptables-legacy are not traced, such as %v: load them by iptables-nft; if that is meant, call x.AllowVacuous", rules[i])
	}
	return nil
}
