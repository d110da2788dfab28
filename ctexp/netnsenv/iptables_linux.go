package netnsenv

import (
	"context"
	"strings"

	"github.com/coreos/go-iptables/iptables"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/xtables"
)

// IPTables runs f in the namespace with a handle on the variant's iptables for IPv4. The handle executes from
// whatever thread calls it, so f must not give it to other goroutines.
func (e *Env) IPTables(v Variant, f func(*iptables.IPTables) error) error {
	return e.iptables(v, nf.IPv4, f)
}

// IP6Tables is IPTables for IPv6.
func (e *Env) IP6Tables(v Variant, f func(*iptables.IPTables) error) error {
	return e.iptables(v, nf.IPv6, f)
}

func (e *Env) iptables(v Variant, family nf.Family, f func(*iptables.IPTables) error) error {
	if f == nil {
		panic("netnsenv: IPTables: the function is nil")
	}
	return e.Do(func() error {
		ipt, err := e.handles.open(v, family)
		if err != nil {
			return err
		}
		return f(ipt)
	})
}

// handles keeps the iptables handles of an Env, each of which costs an execution. Only the Env's thread uses it.
type handles map[string]*iptables.IPTables

func (h *handles) open(v Variant, family nf.Family) (*iptables.IPTables, error) {
	key := string(v) + family.String()
	if ipt := (*h)[key]; ipt != nil {
		return ipt, nil
	}
	ipt, err := xtables.Open(v, family)
	if err != nil {
		return nil, err
	}
	if *h == nil {
		*h = handles{}
	}
	(*h)[key] = ipt
	return ipt, nil
}

func familyOf(ipv6 bool) nf.Family {
	if ipv6 {
		return nf.IPv6
	}
	return nf.IPv4
}

// Load implements Ruleset.
func (s saveText) Load(ctx context.Context, e *Env) error {
	path, err := xtables.Path(s.variant, familyOf(s.ipv6), "-restore")
	if err != nil {
		return err
	}
	restore := []string{"--noflush", "--wait"}
	try := iptablesTry{env: e, ctx: ctx, variant: s.variant, family: familyOf(s.ipv6)}
	bad, err := e.missing(iptablesLinks(strings.Split(s.text, "\n")), s.mayLack, s.text)
	if err != nil {
		return err
	}
	var said string
	if strings.Count(s.text, "\nCOMMIT") > 1 { // each is a transaction of its own
		said, err = e.feed(ctx, s.text+"\n", path, append(restore, "--test")...)
	}
	if err == nil && len(bad) == 0 {
		said, err = e.feed(ctx, s.text+"\n", path, restore...)
	}
	return rulesError(string(s.variant), s.text, bad, said, err, try.problems)
}
