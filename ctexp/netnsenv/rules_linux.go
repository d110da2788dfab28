package netnsenv

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/coreos/go-iptables/iptables"
	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/plain"
	"github.com/ctexp/go-ctexp/internal/ruleset"
)

// IPTables runs f in the namespace with a handle for the variant's iptables for IPv4. The handle executes iptables in
// the namespace of the calling thread, so f must not pass it to other goroutines. If f returns an error of iptables that
// the kernel has no such table, as where the module iptable_filter is not loaded, the error is an nf.UnsupportedError.
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
	return e.do(func() error {
		ipt, err := e.handles.open(v, family)
		if err != nil {
			return err
		}
		return ruleset.Unsupported(f(ipt), family)
	})
}

// handles caches the iptables handles of an Env, because creating one executes iptables. It is used only on the Env's
// thread.
type handles map[string]*iptables.IPTables

func (h *handles) open(v Variant, family nf.Family) (*iptables.IPTables, error) {
	key := string(v) + family.String()
	if ipt := (*h)[key]; ipt != nil {
		return ipt, nil
	}
	ipt, err := ruleset.OpenIPTables(v, family)
	if err != nil {
		return nil, err
	}
	if *h == nil {
		*h = handles{}
	}
	(*h)[key] = ipt
	return ipt, nil
}

// Load implements Ruleset.
func (t rulesText) Load(ctx context.Context, e *Env) error {
	if err := lackOfOwners(t.Owners()); err != nil {
		return err
	}
	defer e.changes()()
	links, err := e.linkNames()
	if err != nil {
		return err
	}
	if err := t.Text.Load(ctx, quiet{e}, links); err != nil {
		if mayWrite(err) && e.refusesWriting() {
			return lackOfWriting(err)
		}
		return err
	}
	return e.owned.kept()
}

// Load implements Ruleset.
func (t singleCommands) Load(ctx context.Context, e *Env) error {
	if err := lackOfOwners(t.Owners()); err != nil {
		return err
	}
	defer e.changes()()
	links, err := e.linkNames()
	if err != nil {
		return err
	}
	return e.iptables(Variant(t.Program), t.Family, func(ipt *iptables.IPTables) error { return t.LoadCommands(ctx, ipt, links) })
}

// lackOfOwners returns an UnsupportedError if rules name a user or group that the user namespace does not have: iptables would
// refuse the rule as invalid, and nftables would load one that matches nothing.
func lackOfOwners(owners []ruleset.Owner) error {
	for _, o := range owners {
		lack := lackOfUser
		if o.Group {
			lack = lackOfGroup
		}
		if err := lack(o.ID); err != nil {
			where := ""
			if o.Line > 0 {
				where = fmt.Sprintf("line %d: ", o.Line)
			}
			return fmt.Errorf("%s%s: %w", where, plain.Line(o.Word), err)
		}
	}
	return nil
}

// linkNames returns the names of the links in the namespace.
func (e *Env) linkNames() (names []string, err error) {
	links, err := e.route.Link.List()
	if err != nil {
		if e.FD() < 0 {
			return nil, ErrClosed
		}
		return nil, fmt.Errorf("list the links: %w", err)
	}
	for _, l := range links {
		names = append(names, l.Attributes.Name)
	}
	return names, nil
}

// NFTables returns a Ruleset that calls f with a connection to the nftables of the namespace. It flushes the connection
// after f. If a rule then compares the owner of sockets with a user or group that the user namespace does not have, and which it so
// never matches, loading fails with an nf.UnsupportedError that names it, and the rules stay. Rules and elements that are added by
// Env.NFTables are not looked at.
func NFTables(f func(*nftables.Conn) error) Ruleset { return nftFunc(f) }

type nftFunc func(*nftables.Conn) error

// nftFuncs serializes these functions for all Envs, because google/nftables numbers sets in a package variable (v0.3.0,
// set.go, allocSetID). The functions take little time, because they only build messages.
var nftFuncs sync.Mutex

// Load implements Ruleset.
func (f nftFunc) Load(_ context.Context, e *Env) error {
	if f == nil {
		return errors.New("nftables rules: the function is nil")
	}
	defer e.changes()()
	c, err := e.openNFTables()
	if err != nil {
		return err
	}
	defer c.CloseLasting()
	nftFuncs.Lock()
	defer nftFuncs.Unlock()
	if err := f(c); err != nil {
		return fmt.Errorf("nftables rules: %w", err)
	}
	if err := c.Flush(); err != nil {
		if errors.Is(err, unix.EPERM) && e.refusesWriting() { // what changes our tables is refused, too
			return fmt.Errorf("nftables rules: %w; this kernel lets no rule of a user namespace write packets", err)
		}
		return fmt.Errorf("nftables rules: %w", err)
	}
	if err := e.lackOfLoadedOwners(); err != nil {
		return fmt.Errorf("nftables rules: %w", err)
	}
	return nil
}

// lackOfLoadedOwners is lackOfOwners for the rules of nftables that are loaded: of a function, nothing is known before.
func (e *Env) lackOfLoadedOwners() error {
	if !e.inUserNS {
		return nil // every user is there
	}
	var owners []ruleset.Owner
	err := e.do(func() error {
		conn, err := nfnl.Dial()
		if err != nil {
			return err
		}
		defer conn.Close()
		owners, err = ruleset.OwnersOf(conn)
		return err
	})
	if err != nil {
		return err
	}
	return lackOfOwners(owners)
}

// NFTables returns a lasting connection to the nftables of the namespace. It can be used from any goroutine, one at a
// time. CloseLasting or Close of the Env closes it. AddSet must not be called concurrently in the whole program, even
// for different Envs; the Ruleset NFTables ensures that.
func (e *Env) NFTables() (*nftables.Conn, error) {
	c, err := e.openNFTables()
	if err == nil {
		e.onClose(closerFunc(c.CloseLasting))
	}
	return c, err
}

func (e *Env) openNFTables() (*nftables.Conn, error) {
	var c *nftables.Conn
	err := e.do(func() (err error) {
		c, err = nftables.New(nftables.AsLasting())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	return c, nil
}

// closerFunc is a function as an io.Closer.
type closerFunc func() error

// Close calls f.
func (f closerFunc) Close() error { return f() }
