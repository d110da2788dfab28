package ctexp

import (
	"context"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

// Load loads rules in their order, as Config.Rules are, for those that come or change in the middle of an experiment:
//
//	x.Load(netnsenv.NFTables(func(c *nftables.Conn) error { c.DelTable(policy); return nil }))
func (x *Experiment) Load(rules ...netnsenv.Ruleset) {
	x.t.Helper()
	x.do("Load", func(ctx context.Context) error {
		for _, r := range rules {
			if err := r.Load(ctx, x.Env); err != nil {
				return err
			}
		}
		return nil
	})
}
