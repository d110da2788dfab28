package netnsenv

import (
	"errors"
	"fmt"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/internal/ours"
)

// owned is the connection that owns our tables: only it can change them, and "flush ruleset" passes them over.
type owned struct {
	mu   sync.Mutex // a lasting connection answers one question at a time
	conn *nftables.Conn
	// The tables: inet for the probes, netdev for the counts at ingress.
	inet, netdev *nftables.Table
	quiet        bool // the chain of that name is there
}

// tableOwner is NFT_TABLE_F_OWNER (include/uapi/linux/netfilter/nf_tables.h, since 5.12, 6001a930ce03 "netfilter:
// nftables: introduce table ownership").
const tableOwner = 2

func openOwned(e *Env) (*owned, error) {
	var sock *netlink.Conn
	o := &owned{
		inet:   &nftables.Table{Family: nftables.TableFamilyINet, Name: ours.Table},
		netdev: &nftables.Table{Family: nftables.TableFamilyNetdev, Name: ours.Table},
	}
	err := e.Do(func() (err error) {
		o.conn, err = nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
			sock = c
			return nil
		}))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	for _, t := range []*nftables.Table{o.inet, o.netdev} {
		err := newOwnedTable(sock, t, tableOwner)
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) { // before 5.12
			err = newOwnedTable(sock, t, 0)
		}
		if err != nil {
			o.conn.CloseLasting()
			return nil, fmt.Errorf("make the nftables table %q: %w", ours.Table, err)
		}
	}
	return o, nil
}

// newOwnedTable makes a table with flags by a message of our own: google/nftables sends none.
func newOwnedTable(sock *netlink.Conn, t *nftables.Table, flags uint32) error {
	attrs := netlink.NewAttributeEncoder()
	attrs.ByteOrder = networkOrder
	attrs.String(unix.NFTA_TABLE_NAME, t.Name)
	attrs.Uint32(unix.NFTA_TABLE_FLAGS, flags)
	body, err := attrs.Encode()
	if err != nil {
		return err
	}
	_, err = sock.SendMessages([]netlink.Message{
		nftMessage(unix.NFNL_MSG_BATCH_BEGIN, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES),
		nftMessage(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWTABLE, netlink.Create|netlink.Acknowledge, byte(t.Family), 0, body...),
		nftMessage(unix.NFNL_MSG_BATCH_END, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES),
	})
	if err != nil {
		return err
	}
	_, err = sock.Receive()
	return err
}

// counter returns the packets that a named counter has seen.
func (o *owned) counter(t *nftables.Table, name string) (uint64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	obj, err := o.conn.GetObject(&nftables.CounterObj{Table: t, Name: name})
	if err != nil {
		return 0, fmt.Errorf("read counter %q: %w", name, err)
	}
	c, ok := obj.(*nftables.CounterObj)
	if !ok {
		return 0, fmt.Errorf("read counter %q: it is a %T", name, obj)
	}
	return c.Packets, nil
}

// add puts a base chain with one named counter behind the given expressions into a batch.
func (o *owned) add(t *nftables.Table, c *nftables.Chain, counter string, match ...expr.Any) {
	o.conn.AddObj(&nftables.CounterObj{Table: t, Name: counter})
	o.conn.AddRule(&nftables.Rule{Table: t, Chain: c, Exprs: append(match, &expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: counter})})
}

// close lets the tables go. The kernel waits for RCU when an owning socket is closed (some 10 ms), and nobody has to wait
// with it.
func (o *owned) close() { go o.conn.CloseLasting() }
