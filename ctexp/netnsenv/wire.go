package netnsenv

import (
	"fmt"
	"net/netip"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Wire says how two Envs are joined: by a pair of interfaces, one in each. An end's Prefixes are its host's addresses on the
// wire, its Routes what it reaches through the other end. Its Kind is Veth or left out; a Name that is left out is wire0,
// wire1, … by what is free.
type Wire struct{ A, B LinkConfig }

// normalize checks w and fills in what zero values stand for; index numbers the wire.
func (w Wire) normalize(index int) (Wire, error) {
	for _, end := range []*LinkConfig{&w.A, &w.B} {
		if end.Name == "" {
			end.Name = fmt.Sprintf("wire%d", index)
		}
		if end.Kind == Auto {
			end.Kind = Veth
		}
		if end.Kind != Veth {
			return w, fmt.Errorf("link %q: kind %v: a wire is a pair of veth", end.Name, end.Kind)
		}
		if end.Mark != 0 {
			return w, fmt.Errorf("link %q: a wire has no mark", end.Name)
		}
		var err error
		if *end, err = end.normalize(index, false); err != nil {
			return w, err
		}
		if len(end.Prefixes) == 0 {
			return w, fmt.Errorf("link %q: it has no prefix: want an address for the end of a wire", end.Name)
		}
	}
	if err := w.A.reaches(w.B); err != nil {
		return w, err
	}
	return w, w.B.reaches(w.A)
}

// reaches reports whether an end can use the other as the gateway of its routes.
func (l LinkConfig) reaches(other LinkConfig) error {
	for _, r := range l.Routes {
		if !l.gateway(other, nf.FamilyOf(r.Addr())).IsValid() {
			return fmt.Errorf("link %q: route %v: the other end has no address in the networks %v", l.Name, r, l.Prefixes)
		}
	}
	return nil
}

// gateway returns the first address of the other end that is in a network of this one; none if it is not valid.
func (l LinkConfig) gateway(other LinkConfig, f nf.Family) netip.Addr {
	for _, p := range other.Prefixes {
		for _, own := range l.Prefixes {
			if nf.FamilyOf(p.Addr()) == f && own.Masked().Contains(p.Addr()) {
				return p.Addr()
			}
		}
	}
	return netip.Addr{}
}
