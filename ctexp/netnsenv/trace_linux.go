package netnsenv

import (
	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// traceAt is before the first of the standard probes, and so before fragments are put together.
const traceAt = nf.PriorityDefrag - 2

// addTrace has all packets traced from here on (net/netfilter/nft_meta.c, NFT_META_NFTRACE). The step in which it
// happens is the first that the kernel tells of a packet, by which Observer.Trace knows that a new one begins.
func (e *Env) addTrace() {
	o := e.owned
	for _, hook := range []nf.Hook{nf.Prerouting, nf.Output} {
		c := o.conn.AddChain(&nftables.Chain{
			Table: o.inet, Name: ours.TracePrefix + hook.String(), Type: nftables.ChainTypeFilter,
			Hooknum:  nftables.ChainHookRef(nftables.ChainHook(hook)),
			Priority: nftables.ChainPriorityRef(nftables.ChainPriority(traceAt)),
		})
		o.conn.AddRule(&nftables.Rule{Table: o.inet, Chain: c, Exprs: []expr.Any{
			&expr.Immediate{Register: 1, Data: []byte{1}},
			&expr.Meta{Key: expr.MetaKeyNFTRACE, SourceRegister: true, Register: 1},
		}})
	}
}
