package scenarios

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"github.com/mdlayher/netlink"
	"github.com/ti-mo/netfilter"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// held is the queue number 0 of a namespace (NFQUEUE): packets that a rule sends there stay where they are, their entries
// unconfirmed, until they are released.
type held struct{ conn *netlink.Conn }

// hold opens the queue, and has a rule for IPv4 send there what it matches.
func hold(t *testing.T, x *ctexp.Experiment, hook nf.Hook, match rule) held {
	t.Helper()
	var q held
	ctexp.Require(t, "open the queue", x.Env.Do(func() (err error) {
		q.conn, err = netlink.Dial(unix.NETLINK_NETFILTER, nil)
		return err
	}))
	t.Cleanup(func() { q.conn.Close() })
	const bind, copyMeta = 1, 1                  // NFQNL_CFG_CMD_BIND, NFQNL_COPY_META
	ctexp.Require(t, "bind the queue", q.tell(2, // NFQNL_MSG_CONFIG
		netfilter.Attribute{Type: 1, Data: []byte{bind, 0, 0, unix.AF_INET}},                         // NFQA_CFG_CMD
		netfilter.Attribute{Type: 2, Data: append(binary.BigEndian.AppendUint32(nil, 0), copyMeta)})) // NFQA_CFG_PARAMS
	err := netnsenv.NFTables(func(c *nftables.Conn) error {
		table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "queue"})
		ch := filterAt(hook, nf.PriorityFilter).Chain
		ch.Name, ch.Table = "queue", table
		// The target of iptables, since many a kernel lacks the expression of nftables.
		c.AddRule(&nftables.Rule{Table: table, Chain: c.AddChain(&ch), Exprs: when(match, rule{&expr.Target{
			Name: "NFQUEUE", Info: &xt.Unknown{0, 0},
		}})})
		return nil
	}).Load(t.Context(), x.Env)
	if errors.Is(err, fs.ErrNotExist) {
		err = &nf.UnsupportedError{Need: "NFQUEUE", Hint: "the kernel's modules xt_NFQUEUE and nft_compat", Err: err}
	}
	ctexp.Require(t, "rule of the queue", err)
	return q
}

// release waits for n packets in the queue, lets them go on in their order, and returns when they have gone.
func (q held) release(t *testing.T, n int) {
	t.Helper()
	if deadline, ok := t.Deadline(); ok {
		ctexp.Require(t, "wait for the queue", q.conn.SetReadDeadline(deadline))
	}
	for got := 0; got < n; {
		packets, err := q.conn.Receive()
		ctexp.Require(t, "wait for the queue", err)
		got += len(packets)
	}
	const accept = 1 // NF_ACCEPT. The kernel numbers the packets of a queue from 1.
	upToN := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, accept), uint32(n))
	ctexp.Require(t, "release", q.tell(3, netfilter.Attribute{Type: 2, Data: upToN})) // NFQNL_MSG_VERDICT_BATCH, NFQA_VERDICT_HDR
}

// tell sends a message of nfnetlink_queue and waits for its acknowledgement (include/uapi/linux/netfilter/nfnetlink_queue.h).
func (q held) tell(kind netfilter.MessageType, attrs ...netfilter.Attribute) error {
	m, err := netfilter.MarshalNetlink(netfilter.Header{
		SubsystemID: netfilter.NFSubsysQueue, MessageType: kind, Flags: netlink.Request | netlink.Acknowledge,
	}, attrs)
	if err == nil {
		_, err = q.conn.Execute(m)
	}
	return err
}
