package ruleset

import (
	"context"
	"fmt"
)

// ReadBoth reads the nftables rules as listed by nft and as printed by this package, each with its table and chain.
func ReadBoth(ctx context.Context, ns Namespace, conn Conn) (byNFT, own []string, err error) {
	s, err := ReadTables(ctx, ns, conn, func(uint8, string) bool { return true })
	links := listing{ns: ns}
	for _, t := range s.tables {
		sets := anonymousSets{conn: conn, table: &t}
		for _, c := range t.chains {
			for _, r := range c.rules {
				at := fmt.Sprintf("%s %s %s: ", FamilyName(t.family), t.name, c.name)
				byNFT = append(byNFT, at+r.line.Text)
				own = append(own, at+printRule(r, sets.get, links.link))
			}
		}
	}
	return byNFT, own, err
}
