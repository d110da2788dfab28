package netnsenv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/background"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
	"github.com/ctexp/go-ctexp/internal/ruleset"
)

// owned is the connection that owns our tables: only it can change them, and "flush ruleset" does not delete them.
type owned struct {
	mu           sync.Mutex // held while rules is in use
	conn         *nfnl.Conn
	rules        *nftables.Conn // collects changes for flush
	collected    []netlink.Message
	inet, netdev *nftables.Table // the tables for the probes and for the counters at ingress
	quiet        bool            // the chain "quiet" exists
	classifies   bool            // the classes of packets are logged
	closed       atomic.Bool     // conn is being closed
	copies       bool            // the rules of collectCopies exist
}

// tableOwner is NFT_TABLE_F_OWNER (include/uapi/linux/netfilter/nf_tables.h, since 5.12, 6001a930ce03 "netfilter:
// nftables: introduce table ownership").
const tableOwner = 2

// openOwned opens the connection on the thread.
func openOwned() (*owned, error) {
	o := &owned{
		inet:   &nftables.Table{Family: nftables.TableFamilyINet, Name: ours.Table},
		netdev: &nftables.Table{Family: nftables.TableFamilyNetdev, Name: ours.Table},
	}
	var err error
	if o.conn, err = nfnl.Dial(); err == nil {
		o.rules, err = nftables.New(nftables.WithTestDial(func(batch []netlink.Message) ([]netlink.Message, error) {
			o.collected = batch
			return nil, errCollected
		}))
	}
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	return o, nil
}

// errCollected ends Flush of google/nftables when it has passed on the messages.
var errCollected = fmt.Errorf("collected: %w", os.ErrPermission)

// collect returns the messages of what f adds to rules.
func (o *owned) collect(f func()) ([]netlink.Message, error) {
	f()
	o.collected = nil
	err := o.rules.Flush()
	if messages := o.collected; len(messages) >= 3 { // between the beginning and the end of a batch
		return messages[1 : len(messages)-1], nil
	}
	return nil, err // nothing, or something that cannot be encoded
}

// flush sends what rules has collected as one transaction.
func (o *owned) flush() error {
	messages, err := o.collect(func() {})
	if err != nil || len(messages) == 0 {
		return err
	}
	return o.send(transaction(messages))
}

// transaction returns messages as one transaction. Only the last one asks for an acknowledgement, and none for an echo of
// what it has added: google/nftables v0.3.0 lets each of them ask, and reads an answer to each, two for a rule (Conn.Flush).
func transaction(messages []netlink.Message) *nfnl.Batch {
	var batch nfnl.Batch
	batch.Add(func(b []byte) []byte {
		return appendMessage(b, nftMessage(unix.NFNL_MSG_BATCH_BEGIN, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES))
	})
	for i, m := range messages {
		batch.Add(func(b []byte) []byte {
			b = appendMessage(b, m)
			if i == len(messages)-1 {
				b = appendMessage(b, nftMessage(unix.NFNL_MSG_BATCH_END, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES))
			}
			return b
		})
	}
	return &batch
}

// send sends a transaction. An error of the kernel is a unix.Errno.
func (o *owned) send(batch *nfnl.Batch) error {
	if o.closed.Load() {
		return ErrClosed
	}
	return o.conn.Send(batch, func(_ int, errno unix.Errno) error { return errno })
}

// appendMessage appends a request that asks for no acknowledgement and no echo.
func appendMessage(b []byte, m netlink.Message) []byte {
	b = slices.Grow(b, nfnl.HeaderSize+len(m.Data)+3)
	b = binary.NativeEndian.AppendUint32(b, uint32(nfnl.HeaderSize+len(m.Data)))
	b = binary.NativeEndian.AppendUint16(b, uint16(m.Header.Type))
	b = binary.NativeEndian.AppendUint16(b, uint16(m.Header.Flags&^(netlink.Acknowledge|netlink.Echo)))
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0) // sequence number and port
	b = append(b, m.Data...)
	return append(b, "\x00\x00\x00"[:-len(m.Data)&3]...)
}

// tables returns the messages that create our tables with flags, which google/nftables cannot send.
func (o *owned) tables(flags uint32) ([]netlink.Message, error) {
	var messages []netlink.Message
	for _, t := range []*nftables.Table{o.inet, o.netdev} {
		attrs := netlink.NewAttributeEncoder()
		attrs.ByteOrder = networkOrder
		attrs.String(unix.NFTA_TABLE_NAME, t.Name)
		attrs.Uint32(unix.NFTA_TABLE_FLAGS, flags)
		body, err := attrs.Encode()
		if err != nil {
			return nil, err
		}
		messages = append(messages, nftMessage(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWTABLE, netlink.Create, byte(t.Family), 0, body...))
	}
	return messages, nil
}

// createTables creates our tables alone.
func (o *owned) createTables() error {
	err := error(unix.EOPNOTSUPP)
	for _, flags := range []uint32{tableOwner, 0} { // before 5.12 there is no owner
		if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EINVAL) {
			break
		}
		messages, encodeErr := o.tables(flags)
		if encodeErr != nil {
			return encodeErr
		}
		err = o.send(transaction(messages))
	}
	if err != nil {
		return fmt.Errorf("create the nftables table %q: %w", ours.Table, err)
	}
	return nil
}

// part is a part of our own rules.
type part struct {
	collect func()
	refused func(error) error // what it means that the kernel refuses it; nil: that it goes without
}

// ownRules is all that our own rules depend on, except for the probes of the Config.
type ownRules struct {
	links, devices            string // their names, and those of the links' far ends
	path, ipv6, silent, trace bool
	conntrack                 Switch
	classes, copies, late     bool
	egress                    bool
}

// built are the transactions of our own rules that this process has sent, by what they depend on: mostly one, because most Envs of a
// program have links, a path and probes of the same names. To encode one takes a third of the time that Open takes in this process. The
// oldest is forgotten when there are many.
var built struct {
	sync.Mutex
	all []builtRules
}

type builtRules struct {
	ownRules
	probes []nf.Probe
	batch  *nfnl.Batch
}

const mostBuilt = 32

func (b *builtRules) are(r ownRules, probes []nf.Probe) bool {
	return b.ownRules == r && slices.Equal(b.probes, probes)
}

// findBuilt returns the transaction for r and the probes of the Config, nil if there is none.
func findBuilt(r ownRules, probes []nf.Probe) *nfnl.Batch {
	built.Lock()
	defer built.Unlock()
	for i := range built.all {
		if b := &built.all[i]; b.are(r, probes) {
			return b.batch.Clone()
		}
	}
	return nil
}

// keepBuilt keeps a transaction instead of one that was kept for the same.
func keepBuilt(r ownRules, probes []nf.Probe, batch *nfnl.Batch) {
	built.Lock()
	defer built.Unlock()
	built.all = slices.DeleteFunc(built.all, func(b builtRules) bool { return b.are(r, probes) })
	if len(built.all) == mostBuilt {
		built.all = slices.Delete(built.all, 0, 1)
	}
	built.all = append(built.all, builtRules{r, slices.Clone(probes), batch.Clone()})
}

// addOwnRules creates our tables and adds our own rules, as one transaction, of which the kernel takes all or nothing. If it
// refuses it, they are added one part after the other, so that an error names what was refused. Without rules in the Config,
// those that must be younger than these are added as well.
func (e *Env) addOwnRules() error {
	o := e.owned
	o.mu.Lock()
	defer o.mu.Unlock()
	r := ownRules{
		path: !e.cfg.NoPath, ipv6: e.hasIPv6(), silent: e.cfg.Silent, trace: e.cfg.Trace, conntrack: e.cfg.Conntrack,
		classes: e.logsClasses(), egress: e.countsEgress(), copies: !e.cfg.NoPath || !e.cfg.NoFrames, late: len(e.cfg.Rules) == 0,
	}
	for _, l := range e.links {
		r.links += l.cfg.Name + "/"
		if l.kind == Veth {
			r.links += l.farName()
		}
		r.links += "/"
	}
	if r.egress {
		for _, d := range e.cfg.Devices {
			r.devices += d.Name + "/"
		}
	}
	if !r.copies {
		r.copies = slices.ContainsFunc(e.cfg.Probes, isBeforeDefrag)
	}
	if r.copies {
		var err error
		if r.copies, err = e.rulesMayWrite(); err != nil {
			return fmt.Errorf("copy fragments: %w", err)
		}
	}
	o.quiet, o.copies = r.ipv6, r.copies
	if batch := findBuilt(r, e.cfg.Probes); batch != nil {
		if err := o.send(batch); err == nil || !isRefused(err) {
			return err
		}
	}
	parts := e.parts(r)
	messages := make([][]netlink.Message, len(parts))
	for i, p := range parts {
		var err error
		if messages[i], err = o.collect(p.collect); err != nil {
			return fmt.Errorf("encode our own rules: %w", err)
		}
	}
	if kernel.OwnedTables.Here() {
		tables, err := o.tables(tableOwner)
		if err != nil {
			return err
		}
		batch := transaction(slices.Concat(tables, slices.Concat(messages...)))
		err = o.send(batch)
		if err == nil {
			keepBuilt(r, e.cfg.Probes, batch)
		}
		if err == nil || !isRefused(err) {
			return err
		}
	}
	if err := o.createTables(); err != nil {
		return err
	}
	return o.addEach(parts, messages)
}

// addEach adds the parts, which have these messages, one after the other.
func (o *owned) addEach(parts []part, messages [][]netlink.Message) error {
	for i, p := range parts {
		if len(messages[i]) == 0 {
			continue
		}
		if err := o.send(transaction(messages[i])); err != nil {
			if err := p.refused(err); err != nil {
				return err
			}
		}
	}
	return nil
}

// isRefused reports whether nothing of a transaction was done: the kernel has answered with an error, or it was too large to send.
func isRefused(err error) bool {
	_, answered := err.(unix.Errno)
	return answered || errors.Is(err, unix.EMSGSIZE)
}

// isBeforeDefrag reports whether p shares the chain of the first standard probe.
func isBeforeDefrag(p nf.Probe) bool { return chainName(p) == chainName(nf.DefragPrerouting) }

// parts returns our own rules in the order in which they must be added.
func (e *Env) parts(r ownRules) []part {
	o := e.owned
	failed := func(what string) func(error) error {
		return func(err error) error { return fmt.Errorf("%s: %w", what, err) }
	}
	var parts []part
	for _, l := range e.links {
		refused := func(err error) error { return fmt.Errorf("link %q: %w", l.cfg.Name, ingressError(err)) }
		parts = append(parts, part{func() { o.collectIngress(l.cfg.Name, l.cfg.Name, nf.Families()...) }, refused})
		if l.kind == Veth {
			parts = append(parts, part{func() { o.collectIngress(l.farName(), l.farName()) }, refused})
		}
	}
	if r.egress {
		parts = append(parts, part{func() {
			o.collectEgress("lo", "lo")
			for _, l := range e.links {
				o.collectEgress(l.cfg.Name, l.cfg.Name)
			}
			for _, d := range e.cfg.Devices {
				o.collectEgress(d.Name, d.Name)
			}
		}, egressError})
	}
	early, late := e.sides()
	parts = append(parts, part{func() { e.collectProbes(early, false) }, failed("set probes")})
	if r.copies {
		parts = append(parts, part{func() { o.collectCopies(slices.ContainsFunc(early, isBeforeDefrag)) }, failed("copy fragments")})
	}
	if r.classes {
		parts = append(parts, part{o.collectInvalid, func(err error) error {
			if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) { // a kernel without nft_log
				return nil
			}
			return fmt.Errorf("log INVALID packets: %w", err)
		}})
	}
	if r.late {
		parts = append(parts, part{func() { e.collectProbes(late, true) }, failed("set probes")})
	}
	return parts
}

// addLateProbes adds the probes that must be younger than the rules of the Config.
func (e *Env) addLateProbes() error {
	_, late := e.sides()
	e.owned.mu.Lock()
	defer e.owned.mu.Unlock()
	e.collectProbes(late, true)
	if err := e.owned.flush(); err != nil {
		return fmt.Errorf("set probes: %w", err)
	}
	return nil
}

// counter returns the packet count of a named counter.
func (o *owned) counter(t *nftables.Table, name string) (uint64, error) {
	if o.closed.Load() {
		return 0, ErrClosed
	}
	n, err := ruleset.Packets(o.conn, byte(t.Family), t.Name, name)
	if err != nil {
		return 0, fmt.Errorf("read counter %q: %w", name, lostTable(err))
	}
	return n, nil
}

// kept returns an error if rules that were loaded have deleted our tables.
func (o *owned) kept() error {
	if kernel.OwnedTables.Here() {
		return nil
	}
	if o.closed.Load() {
		return ErrClosed
	}
	attrs := netlink.NewAttributeEncoder()
	attrs.String(unix.NFTA_TABLE_NAME, ours.Table)
	body, err := attrs.Encode()
	if err == nil {
		_, err = o.conn.Query(nftMessage(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETTABLE, 0, byte(o.inet.Family), 0, body...))
	}
	return lostTable(err)
}

// lostTable returns err, and on a kernel that does not protect our tables also that they were deleted, if it says so.
func lostTable(err error) error {
	if !errors.Is(err, unix.ENOENT) || kernel.OwnedTables.Here() {
		return err
	}
	return fmt.Errorf("the rules or a program deleted the probes, as by \"flush ruleset\": %w: %w", err, kernel.OwnedTables.Lack())
}

// add adds a named counter, and a rule that counts packets that match, to the current batch.
func (o *owned) add(t *nftables.Table, c *nftables.Chain, counter string, match ...expr.Any) {
	o.rules.AddObj(&nftables.CounterObj{Table: t, Name: counter})
	o.count(t, c, counter, match...)
}

// count is add for a counter that exists.
func (o *owned) count(t *nftables.Table, c *nftables.Chain, counter string, match ...expr.Any) {
	o.rules.AddRule(&nftables.Rule{Table: t, Chain: c, Exprs: append(match, &expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: counter})})
}

// close deletes the tables, in the background: the kernel waits about 10 ms for RCU when an owning socket is closed.
func (o *owned) close() {
	o.closed.Store(true)
	background.Close(o.conn)
}
