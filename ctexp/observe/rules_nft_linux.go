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
	names, err := o.expressionNames(t)
	if err != nil {
		return nil, err
	}
	var rules []Rule
	for _, c := range t.chains {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		line := Rule{Backend: backendNFT, Family: familyName(t.Family), Table: t.Name, Chain: c.Name}
		inChain, err := o.chainRules(t, c)
		if err != nil {
			return nil, err
		}
		for _, r := range inChain {
			rules = append(rules, nftRule(line, r, names[r.Handle]))
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

// expressionNames returns the names of the expressions of a table's rules by the handles of the rules. They are read
// because google/nftables leaves out what it does not know, without a word: a rule would seem to mean more packets
// than it does.
func (o *Observer) expressionNames(t nftTable) (map[uint64][]string, error) {
	answers, err := o.dumpRules(t, "")
	if err != nil {
		return nil, fmt.Errorf("read rules of nftables table %s: %w", t.Name, err)
	}
	names := make(map[uint64][]string, len(answers))
	for _, m := range answers {
		handle, of, err := decodeNames(m.Data)
		if err != nil {
			return nil, fmt.Errorf("read rules of nftables table %s: %w", t.Name, err)
		}
		names[handle] = of
	}
	return names, nil
}

func nftRule(line Rule, r *nftables.Rule, names []string) Rule {
	line.Kind, line.Text = KindRule, ruleText(r, names)
	for _, e := range r.Exprs {
		if c, ok := e.(*expr.Counter); ok {
			line.Counted, line.Packets, line.Bytes = true, c.Packets, c.Bytes
			break
		}
	}
	return line
}
