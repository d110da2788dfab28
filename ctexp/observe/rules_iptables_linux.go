package observe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/google/nftables"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/xtables"
)

// legacyRules returns the lines of the tables that iptables-legacy has made in the namespace. Asking it for a table
// would make that table, and hook it up; the kernel lists those that there are.
func (o *Observer) legacyRules(ctx context.Context) ([]Rule, error) {
	var rules []Rule
	err := o.ns.Do(func() error {
		for _, of := range []struct {
			family nf.Family
			list   string
		}{
			{nf.IPv4, "/proc/thread-self/net/ip_tables_names"},
			{nf.IPv6, "/proc/thread-self/net/ip6_tables_names"},
		} {
			names, err := os.ReadFile(of.list)
			if errors.Is(err, fs.ErrNotExist) {
				continue // the kernel has no iptables-legacy, or has not loaded it
			}
			if err != nil {
				return fmt.Errorf("list tables of iptables-legacy: %w", err)
			}
			tables := strings.Fields(string(names))
			slices.Sort(tables)
			more, err := readIPTables(ctx, xtables.Legacy, of.family, tables...)
			if err != nil {
				return err
			}
			rules = append(rules, more...)
		}
		return nil
	})
	return rules, err
}

// iptablesNFTRules returns the lines of a table that iptables-nft has made.
func (o *Observer) iptablesNFTRules(ctx context.Context, t nftTable) ([]Rule, error) {
	family := nf.IPv4
	if t.Family == nftables.TableFamilyIPv6 {
		family = nf.IPv6
	}
	var rules []Rule
	err := o.ns.Do(func() (err error) {
		rules, err = readIPTables(ctx, xtables.NFT, family, t.Name)
		return err
	})
	if errors.Is(err, errors.ErrUnsupported) {
		return o.nftRules(ctx, t)
	}
	return rules, err
}

// readIPTables reads tables by executing iptables; it must be called on a thread in the namespace.
func readIPTables(ctx context.Context, v xtables.Variant, family nf.Family, tables ...string) ([]Rule, error) {
	if len(tables) == 0 {
		return nil, nil
	}
	ipt, err := xtables.Open(v, family)
	if err != nil {
		return nil, err
	}
	line := Rule{Backend: string(v), Family: "ip"}
	if family == nf.IPv6 {
		line.Family = "ip6"
	}
	var rules []Rule
	for _, table := range tables {
		chains, err := ipt.ListChains(table)
		if err != nil {
			return nil, fmt.Errorf("list chains of %s table %s: %w", v, table, err)
		}
		line.Table = table
		for _, chain := range chains {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			listed, err := ipt.ListWithCounters(table, chain)
			if err != nil {
				return nil, fmt.Errorf("list %s chain %s %s: %w", v, table, chain, err)
			}
			for _, text := range listed {
				if r, ok := parseIPTables(line, text); ok {
					rules = append(rules, r)
				}
			}
		}
	}
	return rules, nil
}
