package netnsenv

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Wire describes a pair of interfaces that joins two Envs.
type Wire struct {
	// A and B are the ends. Prefixes are the host's addresses on the wire, Routes go through the other end. Kind must
	// be Auto or Veth, both of which mean Veth. An empty Name means wire0, wire1, …, whichever is free. An MTU of zero
	// means that of the other end; if they differ, packets that are too large for the end at which they arrive are lost.
	//
	// An end that is a port of a bridge or a bond (Port.Of, a device of its Env) needs no Prefixes: those of the device count.
	A, B LinkConfig
}

// normalize checks w and replaces zero values by their defaults. The default names contain index. masters are the devices whose
// ports the ends are.
func (w Wire) normalize(index int, masters [2]Device) (Wire, error) {
	ends := [2]*LinkConfig{&w.A, &w.B}
	w.A.MTU, w.B.MTU = cmp.Or(w.A.MTU, w.B.MTU), cmp.Or(w.B.MTU, w.A.MTU)
	var own [2][]netip.Prefix
	for i, end := range ends {
		if err := end.normalizeEnd(index); err != nil {
			return w, fmt.Errorf("%c: %w", 'A'+i, err)
		}
		own[i] = slices.Concat(end.Prefixes, masters[i].Prefixes)
	}
	for i, end := range ends {
		if err := end.reaches(own[i], own[1-i]); err != nil {
			return w, fmt.Errorf("%c: %w", 'A'+i, err)
		}
	}
	for _, p := range own[0] {
		if slices.ContainsFunc(own[1], func(o netip.Prefix) bool { return o.Addr() == p.Addr() }) {
			return w, fmt.Errorf("%c: link %q: address %v is that of A: give each end its own", 'B', w.B.Name, p.Addr())
		}
	}
	return w, nil
}

func (l *LinkConfig) normalizeEnd(index int) (err error) {
	if l.Name == "" {
		l.Name = fmt.Sprintf("wire%d", index)
	}
	if l.Kind == Auto {
		l.Kind = Veth
	}
	if l.Kind != Veth {
		return fmt.Errorf("link %q: kind %v: a wire is a pair of veth", l.Name, l.Kind)
	}
	if l.Mark != 0 {
		return fmt.Errorf("link %q: a wire has no mark", l.Name)
	}
	if *l, err = l.normalize(index, false, nil); err != nil {
		return err
	}
	if len(l.Prefixes) == 0 && l.Port.Of == "" {
		return fmt.Errorf("link %q: it has no prefix: want an address for the end of a wire", l.Name)
	}
	return nil
}

// reaches returns an error if an end cannot use the other one as the gateway of its routes.
func (l LinkConfig) reaches(own, other []netip.Prefix) error {
	for _, r := range l.Routes {
		if !gateway(own, other, nf.FamilyOf(r.Addr())).IsValid() {
			return fmt.Errorf("link %q: route %v: the other end has no address in the networks %v", l.Name, r, own)
		}
	}
	return nil
}

// gateway returns the first address of the other end that is in a network of this one; the zero Addr if there is none.
func gateway(own, other []netip.Prefix, f nf.Family) netip.Addr {
	for _, p := range other {
		for _, o := range own {
			if nf.FamilyOf(p.Addr()) == f && o.Masked().Contains(p.Addr()) {
				return p.Addr()
			}
		}
	}
	return netip.Addr{}
}
