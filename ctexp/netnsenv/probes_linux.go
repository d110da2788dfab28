package netnsenv

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// probes returns every probe of the Env: the experiment's own and, unless it does without, the standard ones of the
// families that its links have.
func (e *Env) probes() []nf.Probe {
	all := append(e.PathProbes(), e.cfg.Probes...)
	seen := map[string]bool{}
	var out []nf.Probe
	for _, p := range all {
		if !seen[p.Name] {
			seen[p.Name] = true
			out = append(out, p)
		}
	}
	return out
}

// PathProbes returns the standard probes that the Env has, in the order in which packets meet them: none with
// Config.NoPath, and without conntrack none behind the confirmation, since to ask for that would switch it on.
func (e *Env) PathProbes() []nf.Probe {
	if e.cfg.NoPath {
		return nil
	}
	all := nf.PathProbes(nf.IPv4)
	if e.hasIPv6() {
		all = append(all, nf.PathProbes(nf.IPv6)...)
	}
	if e.cfg.Conntrack == Off {
		all = slices.DeleteFunc(all, nf.Probe.BehindConfirm)
	}
	return all
}

// addProbes makes a chain for each place and a counter for each probe, in the order that puts the last chains on
// their sides of the confirmation: the conntrack hooks come into being with the first reference to conntrack.
func (e *Env) addProbes(probes []nf.Probe, beforeConfirm bool) error {
	o := e.owned
	o.mu.Lock()
	defer o.mu.Unlock()
	chains := map[string]*nftables.Chain{}
	for _, p := range probes {
		name := chainName(p)
		if chains[name] == nil {
			chains[name] = o.conn.AddChain(&nftables.Chain{
				Table: o.inet, Name: name, Type: nftables.ChainTypeFilter,
				Hooknum:  nftables.ChainHookRef(nftables.ChainHook(*nftables.ChainHookPrerouting) + nftables.ChainHook(p.Hook)),
				Priority: nftables.ChainPriorityRef(nftables.ChainPriority(p.Priority)),
			})
		}
	}
	for _, p := range probes {
		o.add(o.inet, chains[chainName(p)], p.Name, matchExprs(p)...)
	}
	if !beforeConfirm {
		for _, p := range probes {
			if p.BehindConfirm() && !e.cfg.NoPath {
				e.addAnswered(chains[chainName(p)], p)
			}
		}
		if e.cfg.Silent {
			e.addSilence()
		}
		if e.hasIPv6() {
			o.addQuiet()
		}
		if e.cfg.Trace {
			e.addTrace()
		}
		if e.cfg.Conntrack == On {
			e.addReference()
		}
	}
	if err := o.conn.Flush(); err != nil {
		return fmt.Errorf("set probes: %w", err)
	}
	return nil
}

// chainName names the chain of a probe: one for each hook and priority.
func chainName(p nf.Probe) string {
	side := ""
	if p.BehindConfirm() {
		side = "_confirmed"
	}
	return strings.ReplaceAll(fmt.Sprintf("%v_%d%s", p.Hook, p.Priority, side), "-", "m")
}

// isBeforeConfirm reports whether p needs a chain that is younger than the confirm hook.
func isBeforeConfirm(p nf.Probe) bool { return p.Priority == nf.PriorityConfirm && !p.BehindConfirm() }

// addReference switches conntrack on for both families and changes nothing else: a ct expression in a chain that
// nobody jumps to (net/netfilter/nft_ct.c, nft_ct_get_init).
func (e *Env) addReference() {
	o := e.owned
	c := o.conn.AddChain(&nftables.Chain{Table: o.inet, Name: "conntrack_on"})
	o.conn.AddRule(&nftables.Rule{Table: o.inet, Chain: c, Exprs: []expr.Any{&expr.Ct{Key: expr.CtKeySTATE, Register: 1}}})
}

// addSilence drops what the host sends without a user's socket: skuid can be loaded only where there is one
// (net/netfilter/nft_meta.c, nft_meta_get_eval_skugid), and where it cannot the first rule ends.
func (e *Env) addSilence() {
	o := e.owned
	c := o.conn.AddChain(&nftables.Chain{
		Table: o.inet, Name: "silence", Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookOutput,
		Priority: nftables.ChainPriorityRef(nftables.ChainPriority(nf.PriorityFirst)),
	})
	o.conn.AddRule(&nftables.Rule{Table: o.inet, Chain: c, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeySKUID, Register: 1},
		&expr.Verdict{Kind: expr.VerdictAccept},
	}})
	o.add(o.inet, c, nf.Silenced)
	o.conn.AddRule(&nftables.Rule{Table: o.inet, Chain: c, Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}})
}

// addQuiet drops the reports by which the host says, some time after its links are up, to which groups it listens. No
// sysctl keeps them back (net/ipv6/mcast.c, igmp6_group_added), and nobody could tell when they come.
func (o *owned) addQuiet() {
	if o.quiet {
		return
	}
	o.quiet = true
	c := o.conn.AddChain(&nftables.Chain{
		Table: o.inet, Name: "quiet", Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookOutput,
		Priority: nftables.ChainPriorityRef(nftables.ChainPriority(nf.PriorityFirst)),
	})
	const report, done, report2 = 131, 132, 143 // include/uapi/linux/icmpv6.h, ICMPV6_MGM_REPORT and so on
	for _, typ := range []byte{report, done, report2} {
		o.conn.AddRule(&nftables.Rule{Table: o.inet, Chain: c, Exprs: append(
			matchExprs(nf.Probe{Family: nf.IPv6, Match: nf.Match{Proto: nf.ICMPv6}}),
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Len: 1},
			equal([]byte{typ}),
			&expr.Verdict{Kind: expr.VerdictDrop},
		)})
	}
}

// beQuiet is addQuiet for an Env that is open.
func (o *owned) beQuiet() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.addQuiet()
	if err := o.conn.Flush(); err != nil {
		return fmt.Errorf("keep IPv6 quiet: %w", err)
	}
	return nil
}
