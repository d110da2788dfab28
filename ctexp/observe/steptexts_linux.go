package observe

import (
	"context"
)

// ruleKey names a rule: handles are those of a table.
type ruleKey struct {
	family uint8
	table  string
	handle uint64
}

func ruleOf(m traced) ruleKey { return ruleKey{m.Family, m.Table, m.Handle} }

// stepTexts returns the texts of the rules of all tables that messages are about.
func (o *Observer) stepTexts(ctx context.Context, kept []tracedAt) (map[ruleKey]string, error) {
	met := map[chainOf]bool{}
	for _, m := range kept {
		met[chainOf{family: m.Family, table: m.Table}] = true
	}
	tables, err := o.nftTables()
	if err != nil {
		return nil, err
	}
	texts := map[ruleKey]string{}
	for _, t := range tables {
		if met[chainOf{family: uint8(t.Family), table: t.Name}] {
			if err := o.tableTexts(ctx, t, texts); err != nil {
				return nil, err
			}
		}
	}
	return texts, nil
}

// tableTexts adds the texts of the rules of a table. Those that iptables-nft has made are told in its words, if they
// are as many as the kernel has.
func (o *Observer) tableTexts(ctx context.Context, t nftTable, texts map[ruleKey]string) error {
	names, err := o.expressionNames(t)
	if err != nil {
		return err
	}
	lines := map[string][]string{}
	if t.byIPTables() {
		rules, err := o.iptablesNFTRules(ctx, t)
		if err != nil {
			return err
		}
		for _, r := range rules {
			if r.Kind == KindRule {
				lines[r.Chain] = append(lines[r.Chain], r.Text)
			}
		}
	}
	for _, c := range t.chains {
		inChain, err := o.chainRules(t, c)
		if err != nil {
			return err
		}
		for i, r := range inChain {
			text := ruleText(r, names[r.Handle])
			if l := lines[c.Name]; len(l) == len(inChain) {
				text = l[i]
			}
			texts[ruleKey{uint8(t.Family), t.Name, r.Handle}] = text
		}
	}
	return nil
}
