package ctexp

import (
	"context"
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

// Load loads rules in their order, as Config.Rules are, for those that come or change in the middle of an experiment:
//
//	x.Load(netnsenv.NFTables(func(c *nftables.Conn) error { c.DelTable(policy); return nil }))
func (x *Experiment) Load(rules ...netnsenv.Ruleset) {
	x.t.Helper()
	x.do("Load", func(ctx context.Context) error {
		for i, r := range rules {
			if r == nil {
				panic(fmt.Sprintf("ctexp: Load: ruleset %d is nil", i+1))
			}
			if err := r.Load(ctx, x.Env); err != nil {
				return err
			}
		}
		return nil
	})
}
