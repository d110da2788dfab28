package observe

import (
	"context"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

const backendNFT = "nft"

// nftRules returns the lines of a table of nftables.
func (o *Observer) nftRules(ctx context.Context, t nftTable) ([]Rule, error) {
	var rules []Rule
	for _, c := range t.chains {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		line := Rule{Backend: backendNFT, Family: familyName(t.Family), Table: t.Name, Chain: c.Name}
		o.nftMu.Lock()
		inChain, err := o.nft.GetRules(t.Table, c)
		o.nftMu.Unlock()
		if err != nil {
			return nil, fmt.Errorf("read rules of nftables chain %s %s: %w", t.Name, c.Name, err)
		}
		for _, r := range inChain {
			rules = append(rules, nftRule(line, r))
		}
		if c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop {
			line.Kind, line.Text = KindPolicy, "drop"
			rules = append(rules, line)
		}
	}
	counters, err := readCounters(o.table, t.Family, t.Name)
	if err != nil {
		return nil, err
	}
	for _, c := range counters {
		rules = append(rules, Rule{
			Backend: backendNFT, Family: familyName(t.Family), Table: t.Name,
			Kind: KindCounter, Text: c.name, Counted: true, Packets: c.packets, Bytes: c.bytes,
		})
	}
	return rules, nil
}

func nftRule(line Rule, r *nftables.Rule) Rule {
	line.Kind, line.Text = KindRule, ruleText(r)
	for _, e := range r.Exprs {
		if c, ok := e.(*expr.Counter); ok {
			line.Counted, line.Packets, line.Bytes = true, c.Packets, c.Bytes
			break
		}
	}
	return line
}
