package netnsenv

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// addInvalid has a group of NFLOG tell of each packet that conntrack has called INVALID, right behind conntrack: the kernel
// does not give a reason for all of them. A kernel without nft_log does without.
// With a threshold of 1 none waits for the next (net/netfilter/nfnetlink_log.c, nfulnl_log_packet).
func (e *Env) addInvalid() error {
	if !e.reasons || e.cfg.Conntrack != On {
		return nil
	}
	o := e.owned
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, hook := range []nf.Hook{nf.Prerouting, nf.Output} {
		c := o.conn.AddChain(&nftables.Chain{
			Table: o.inet, Name: "invalid_" + hook.String(), Type: nftables.ChainTypeFilter,
			Hooknum:  nftables.ChainHookRef(nftables.ChainHook(hook)),
			Priority: nftables.ChainPriorityRef(nftables.ChainPriority(nf.PriorityConntrack + 1)),
		})
		o.conn.AddRule(&nftables.Rule{Table: o.inet, Chain: c, Exprs: append(matchExprs(nf.Probe{State: nf.StateInvalid}),
			&expr.Log{Key: 1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_QTHRESHOLD, Group: ours.InvalidGroup, QThreshold: 1})})
	}
	if err := o.conn.Flush(); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("have INVALID packets logged: %w", err)
	}
	return nil
}

// addAnswered counts in the chain of p, which is behind the confirmation, what the host says of packets without an entry:
// it has an entry in the reply direction, which is not confirmed. And it counts the INVALID packets, which have none.
func (e *Env) addAnswered(c *nftables.Chain, p nf.Probe) {
	o := e.owned
	match := append(matchExprs(nf.Probe{Family: p.Family, Dir: nf.Reply}), &expr.Ct{Key: expr.CtKeySTATUS, Register: 1})
	match = append(match, masked(uint32(nf.Confirmed), expr.CmpOpEq, 0)...)
	o.add(o.inet, c, fmt.Sprintf("%s%v/%v", ours.Answered, p.Family, p.Hook), match...)
	o.add(o.inet, c, fmt.Sprintf("%s%v/%v", ours.Passed, p.Family, p.Hook), matchExprs(nf.Probe{Family: p.Family, State: nf.StateInvalid})...)
}
