package netnsenv

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// openFence counts what arrives by the link at the ingress hook, before anything else can drop it.
func (e *Env) openFence(l *Link) error {
	name := "ingress/" + l.cfg.Name
	o := e.owned
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.conn.AddChain(&nftables.Chain{
		Table: o.netdev, Name: l.cfg.Name, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookIngress, Priority: nftables.ChainPriorityRef(nftables.ChainPriority(nf.PriorityFirst)),
		Device: l.cfg.Name,
	})
	o.add(o.netdev, c, name)
	if err := o.conn.Flush(); err != nil {
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOENT) {
			return &nf.UnsupportedError{Need: "CONFIG_NETFILTER_INGRESS", Hint: "a kernel with nftables chains of family netdev", Err: err}
		}
		return fmt.Errorf("link %q: count at ingress: %w", l.cfg.Name, err)
	}
	l.fence = &fence{
		count: func() (uint64, error) { return o.counter(o.netdev, name) },
		async: l.kind == Veth || e.steered(),
	}
	return nil
}
