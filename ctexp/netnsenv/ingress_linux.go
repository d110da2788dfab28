package netnsenv

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// openFence counts what arrives by the link.
func (e *Env) openFence(l *Link) error {
	count, err := e.countIngress(l.cfg.Name, l.cfg.Name)
	if err != nil {
		return fmt.Errorf("link %q: %w", l.cfg.Name, err)
	}
	l.fence = &fence{count: count, async: l.kind == Veth || e.steered()}
	return nil
}

// countIngress counts in a chain of that name what arrives by a device, at the ingress hook, before anything else can drop
// it; what of it is IPv4 and what IPv6, in counters that the Observer reads.
func (e *Env) countIngress(chain, device string) (func() (uint64, error), error) {
	name := "ingress/" + chain
	o := e.owned
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.conn.AddChain(&nftables.Chain{
		Table: o.netdev, Name: chain, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookIngress, Priority: nftables.ChainPriorityRef(nftables.ChainPriority(nf.PriorityFirst)),
		Device: device,
	})
	o.add(o.netdev, c, name)
	for f, etherType := range map[nf.Family]uint16{nf.IPv4: unix.ETH_P_IP, nf.IPv6: unix.ETH_P_IPV6} {
		o.add(o.netdev, c, fmt.Sprintf("%s%v/%s", ours.Arrived, f, chain),
			&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1}, equal(binary.BigEndian.AppendUint16(nil, etherType)))
	}
	if err := o.conn.Flush(); err != nil {
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOENT) {
			return nil, &nf.UnsupportedError{Need: "CONFIG_NETFILTER_INGRESS", Hint: "a kernel with nftables chains of family netdev", Err: err}
		}
		return nil, fmt.Errorf("count at ingress: %w", err)
	}
	return func() (uint64, error) { return o.counter(o.netdev, name) }, nil
}
