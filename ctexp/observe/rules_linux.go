package observe

import (
	"context"
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ruleset"
)

// Rules returns the user's rules with their counters since they were created: for both variants of iptables the rules
// and policies, for nftables the rules, the policies that drop and the named counters. Rules of ctexp itself are
// omitted.
//
// Rules executes iptables for tables that iptables created, which takes some milliseconds for each of their chains,
// and nft once for the others. Without iptables-nft its tables are shown as nftables tables; without nft the rule
// texts are those of this package, which are close to those of nft.
func (o *Observer) Rules(ctx context.Context) ([]Rule, error) {
	release, err := o.use(ctx)
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	defer release()
	s, err := ruleset.Read(ctx, o.ns, o.table)
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	return s.Rules(), nil
}

// drops returns the user's rules and policies that drop packets, at each place from which they are reached, and the
// families for which there is NAT.
func (o *Observer) drops(ctx context.Context) (drops []Drop, nat map[nf.Family]bool, err error) {
	s, err := ruleset.Read(ctx, o.ns, o.table)
	if err != nil {
		return nil, nil, err
	}
	traced := o.tracedDrops()
	for _, d := range s.Drops() {
		drops = append(drops, Drop{
			Rule: d.Rule, Verdict: d.Verdict, CountsOthers: d.CountsOthers, Hook: d.Hook, Priority: d.Priority, Uncounted: d.Uncounted,
			Traced: traced[dropOf{d.Rule.Family, d.Rule.Table, d.Rule.Chain, d.Rule.Handle}],
		})
	}
	nat = map[nf.Family]bool{}
	for _, f := range nf.Families() {
		nat[f] = s.HasNAT(f)
	}
	return drops, nat, nil
}

// dropOf identifies a rule, or with handle 0 the policy of a chain.
type dropOf struct {
	family, table, chain string
	handle               uint64
}

// tracedDrops counts the traced packets that each rule and policy dropped.
func (o *Observer) tracedDrops() map[dropOf]uint64 {
	if o.trace.Drain() != nil {
		return nil
	}
	kept, _, _ := o.trace.log.snapshot()
	n := map[dropOf]uint64{}
	for _, m := range kept {
		if m.drops() && !m.inOwnTable() {
			n[dropOf{ruleset.FamilyName(m.Family), m.Table, m.Chain, m.Handle}]++
		}
	}
	return n
}
