package observe

import (
	"context"
	"fmt"

	"github.com/google/nftables"

	"github.com/ctexp/go-ctexp/internal/ours"
)

// Rules returns the user's rules with what they have counted since they were made: of iptables, in both variants, the
// rules and the policies; of nftables the rules, the policies that drop and the named counters. What ctexp itself has
// put into the namespace is not among them.
//
// Tables made by an iptables are read by executing it, on a thread in the namespace, some milliseconds for each of
// their chains; where that iptables is missing, an iptables-nft table is shown as the nftables table that it is.
func (o *Observer) Rules(ctx context.Context) ([]Rule, error) {
	rules, err := o.rules(ctx)
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	return rules, nil
}

func (o *Observer) rules(ctx context.Context) ([]Rule, error) {
	release, err := o.use(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return o.readRules(ctx)
}

// readRules is Rules for whoever holds the Observer already.
func (o *Observer) readRules(ctx context.Context) ([]Rule, error) {
	rules, err := o.legacyRules(ctx)
	if err != nil {
		return nil, err
	}
	tables, err := o.nftTables()
	if err != nil {
		return nil, err
	}
	for _, t := range tables {
		of := o.nftRules
		if t.byIPTables() {
			of = o.iptablesNFTRules
		}
		more, err := of(ctx, t)
		if err != nil {
			return nil, err
		}
		rules = append(rules, more...)
	}
	return rules, nil
}

// nftTable is a table of nftables with its chains, in the kernel's order.
type nftTable struct {
	*nftables.Table
	chains []*nftables.Chain
}

// nftTables returns all tables but ours.
func (o *Observer) nftTables() ([]nftTable, error) {
	o.nftMu.Lock()
	defer o.nftMu.Unlock()
	tables, err := o.nft.ListTables()
	if err != nil {
		return nil, fmt.Errorf("list nftables tables: %w", err)
	}
	chains, err := o.nft.ListChains()
	if err != nil {
		return nil, fmt.Errorf("list nftables chains: %w", err)
	}
	var users []nftTable
	for _, t := range tables {
		if t.Name == ours.Table {
			continue
		}
		u := nftTable{Table: t}
		for _, c := range chains {
			if c.Table.Name == t.Name && c.Table.Family == t.Family {
				u.chains = append(u.chains, c)
			}
		}
		users = append(users, u)
	}
	return users, nil
}

// byIPTables reports whether iptables-nft made the table: it has one of its names, and a base chain of its names.
func (t nftTable) byIPTables() bool {
	if t.Family != nftables.TableFamilyIPv4 && t.Family != nftables.TableFamilyIPv6 {
		return false
	}
	switch t.Name {
	case "filter", "nat", "mangle", "raw", "security":
	default:
		return false
	}
	for _, c := range t.chains {
		switch c.Name {
		case "PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING":
			return c.Hooknum != nil
		}
	}
	return false
}

// familyName returns the name of a family as nft writes it.
func familyName(f nftables.TableFamily) string {
	switch f {
	case nftables.TableFamilyINet:
		return "inet"
	case nftables.TableFamilyIPv4:
		return "ip"
	case nftables.TableFamilyIPv6:
		return "ip6"
	case nftables.TableFamilyARP:
		return "arp"
	case nftables.TableFamilyNetdev:
		return "netdev"
	case nftables.TableFamilyBridge:
		return "bridge"
	}
	return fmt.Sprintf("family(%d)", byte(f))
}
