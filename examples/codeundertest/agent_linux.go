package codeundertest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Agent lets new connections to some servers pass. It is safe for concurrent use.
type Agent struct {
	// Ready is called when the rules are in place.
	Ready func()

	mu      sync.Mutex
	allowed map[netip.Addr]bool
}

// Allow lets new connections to the server pass from now on.
func (a *Agent) Allow(server netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.allowed == nil {
		a.allowed = map[netip.Addr]bool{}
	}
	a.allowed[server] = true
}

const queue = 100

// Run enforces the policy until the context ends, and then removes the rules. It opens its sockets on the calling goroutine; one
// goroutine reads the queue, another gives the verdicts.
func (a *Agent) Run(ctx context.Context) error {
	q, err := openQueue()
	if err != nil {
		return err
	}
	rules, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return errors.Join(err, q.Close())
	}
	defer rules.CloseLasting()
	number := xt.Unknown(binary.NativeEndian.AppendUint16(nil, queue))
	table, err := addRules(rules, &expr.Queue{Num: queue})
	if errors.Is(err, unix.ENOENT) { // a kernel without nft_queue: the target of iptables
		table, err = addRules(rules, &expr.Target{Name: "NFQUEUE", Info: &number})
	}
	if err != nil {
		return errors.Join(err, q.Close())
	}
	stop := context.AfterFunc(ctx, func() { q.Close() })
	defer stop()
	packets := make(chan queued, 64)
	var verdicts sync.WaitGroup
	verdicts.Go(func() {
		for p := range packets {
			_ = q.decide(p.id, a.passes(p.data)) // a packet without a verdict is dropped with the socket
		}
	})
	if a.Ready != nil {
		a.Ready()
	}
	err = q.receive(packets)
	close(packets)
	verdicts.Wait()
	rules.DelTable(table)
	if ctx.Err() != nil {
		err = nil // the socket was closed
	}
	return errors.Join(err, rules.Flush())
}

// passes decides about an IPv4 packet by its destination.
func (a *Agent) passes(ipv4 []byte) bool {
	if len(ipv4) < 20 || ipv4[0]>>4 != 4 {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.allowed[netip.AddrFrom4([4]byte(ipv4[16:20]))]
}

// addRules sends new connections that are forwarded to the queue, by this expression.
func addRules(c *nftables.Conn, toQueue expr.Any) (*nftables.Table, error) {
	t := c.AddTable(&nftables.Table{Name: "agent", Family: nftables.TableFamilyINet})
	chain := c.AddChain(&nftables.Chain{
		Name: "forward", Table: t, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
	})
	isNew := binary.NativeEndian.AppendUint32(nil, expr.CtStateBitNEW)
	c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: isNew, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
		toQueue,
	}})
	if err := c.Flush(); err != nil {
		return nil, fmt.Errorf("add the rules: %w", err)
	}
	return t, nil
}

// nfqueue is a netlink socket that is bound to the queue.
type nfqueue struct{ *netlink.Conn }

// queued is a packet that waits in the queue.
type queued struct {
	id   uint32
	data []byte
}

// Messages of the subsystem and their attributes (include/uapi/linux/netfilter/nfnetlink_queue.h).
const (
	msgPacket, msgVerdict, msgConfig = 0, 1, 2
	attrCommand, attrParams          = 1, 2  // of msgConfig
	attrHeader, attrPayload          = 1, 10 // of msgPacket
	attrVerdict                      = 2     // of msgVerdict
)

func openQueue() (nfqueue, error) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nfqueue{}, fmt.Errorf("open nfnetlink: %w", err)
	}
	q := nfqueue{c}
	bind := netlink.Attribute{Type: attrCommand, Data: []byte{1, 0, 0, 0}}           // NFQNL_CFG_CMD_BIND
	params := netlink.Attribute{Type: attrParams, Data: []byte{0, 0, 0xff, 0xff, 2}} // NFQNL_COPY_PACKET, up to 65535 bytes
	for _, a := range []netlink.Attribute{bind, params} {
		m, err := message(msgConfig, netlink.Request|netlink.Acknowledge, a)
		if err == nil {
			_, err = c.Execute(m)
		}
		if err != nil {
			return q, errors.Join(fmt.Errorf("bind to queue %d: %w", queue, err), c.Close())
		}
	}
	return q, nil
}

// message returns a message of the subsystem, whose header has the family and the queue.
func message(kind uint16, flags netlink.HeaderFlags, a netlink.Attribute) (netlink.Message, error) {
	attrs, err := netlink.MarshalAttributes([]netlink.Attribute{a})
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_QUEUE<<8 | kind), Flags: flags},
		Data:   append([]byte{unix.AF_UNSPEC, 0, 0, queue}, attrs...),
	}, err
}

// decide gives the verdict about a packet.
func (q nfqueue) decide(id uint32, pass bool) error {
	verdict := uint32(0) // NF_DROP
	if pass {
		verdict = 1 // NF_ACCEPT
	}
	data := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, verdict), id)
	m, err := message(msgVerdict, netlink.Request, netlink.Attribute{Type: attrVerdict, Data: data})
	if err == nil {
		_, err = q.Send(m)
	}
	return err
}

// receive reads packets until the socket is closed.
func (q nfqueue) receive(packets chan<- queued) error {
	for {
		messages, err := q.Receive()
		if err != nil {
			return err
		}
		for _, m := range messages {
			if m.Header.Type&0xff != msgPacket || len(m.Data) < 4 {
				continue
			}
			attrs, err := netlink.UnmarshalAttributes(m.Data[4:])
			if err != nil {
				return err
			}
			var p queued
			for _, a := range attrs {
				switch {
				case a.Type == attrHeader && len(a.Data) >= 4:
					p.id = binary.BigEndian.Uint32(a.Data)
				case a.Type == attrPayload:
					p.data = a.Data
				}
			}
			packets <- p
		}
	}
}

// Main runs the agent as a program, whose arguments are the servers.
func Main() {
	a := &Agent{Ready: func() { fmt.Println("ready") }}
	for _, arg := range os.Args[1:] {
		a.Allow(netip.MustParseAddr(arg))
	}
	if err := a.Run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
