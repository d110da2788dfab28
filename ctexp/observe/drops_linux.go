package observe

import (
	"context"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// drops returns the rules and policies of the user's that drop packets, at each place from which they are reached.
func (o *Observer) drops(ctx context.Context) ([]Drop, error) {
	legacy, err := o.legacyRules(ctx)
	if err != nil {
		return nil, err
	}
	drops := iptablesDrops(legacy)
	tables, err := o.nftTables()
	if err != nil {
		return nil, err
	}
	traced := o.tracedDrops()
	for _, t := range tables {
		more, err := o.nftDrops(ctx, t, traced)
		if err != nil {
			return nil, err
		}
		drops = append(drops, more...)
	}
	return drops, nil
}

// nftDrops returns those of a table of nftables.
func (o *Observer) nftDrops(ctx context.Context, t nftTable, traced map[dropOf]uint64) ([]Drop, error) {
	texts := map[ruleKey]string{}
	if err := o.tableTexts(ctx, t, texts); err != nil {
		return nil, err
	}
	line := Rule{Backend: backendNFT, Family: familyName(t.Family), Table: t.Name}
	if t.byIPTables() {
		line.Backend = "iptables-nft"
	}
	bases, jumps := map[string]attached{}, map[string][]string{}
	var found []Drop // not yet placed
	for _, c := range t.chains {
		inChain, err := o.chainRules(t, c)
		if err != nil {
			return nil, err
		}
		line.Chain, jumps[c.Name] = c.Name, nil
		for _, r := range inChain {
			drops, to := ends(r)
			jumps[c.Name] = append(jumps[c.Name], to...)
			if drops {
				d := Drop{Rule: nftRule(line, r, nil)}
				d.Rule.Text = texts[ruleKey{uint8(t.Family), t.Name, r.Handle}]
				d.Traced = traced[dropOf{chainOf{uint8(t.Family), t.Name, c.Name}, r.Handle}]
				found = append(found, d)
			}
		}
		if c.Hooknum == nil || c.Priority == nil {
			continue
		}
		hook := nf.Hook(*c.Hooknum)
		if t.Family == nftables.TableFamilyNetdev {
			if hook != 0 { // egress
				continue
			}
			hook = nf.Ingress
		}
		bases[c.Name] = attached{hook, int32(*c.Priority)}
		if c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop {
			policy := line
			policy.Kind, policy.Text = KindPolicy, "drop"
			found = append(found, Drop{Rule: policy, Traced: traced[dropOf{chainOf{uint8(t.Family), t.Name, c.Name}, 0}]})
		}
	}
	return placed(found, bases, jumps), nil
}

// ends reports whether a rule may drop a packet, and to which chains it may lead.
func ends(r *nftables.Rule) (drops bool, to []string) {
	for _, e := range r.Exprs {
		switch e := e.(type) {
		case *expr.Verdict:
			switch e.Kind {
			case expr.VerdictDrop:
				drops = true
			case expr.VerdictJump, expr.VerdictGoto:
				to = append(to, e.Chain)
			}
		case *expr.Reject:
			drops = true
		case *expr.Target: // of iptables-nft
			drops = drops || slices.Contains(iptablesDropTargets, e.Name)
		case *expr.Lookup:
			if e.IsDestRegSet && e.DestRegister == 0 { // a verdict map: nobody knows
				to = append(to, anywhere)
			}
		}
	}
	return drops, to
}

// dropOf is a rule, or with handle 0 the policy of a chain.
type dropOf struct {
	chainOf
	handle uint64
}

// tracedDrops counts the traced packets that each rule and policy has dropped.
func (o *Observer) tracedDrops() map[dropOf]uint64 {
	if o.trace.Drain() != nil {
		return nil
	}
	kept, _, _ := o.trace.log.snapshot()
	n := map[dropOf]uint64{}
	for _, m := range kept {
		if m.drops() && !m.isOurs() {
			n[dropOf{chainOf{m.Family, m.Table, m.Chain}, m.Handle}]++
		}
	}
	return n
}
