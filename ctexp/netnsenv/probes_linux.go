package netnsenv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// probes returns all probes of the Env: the standard ones, if any, and those of the Config.
func (e *Env) probes() []nf.Probe {
	all := append(e.PathProbes(), e.cfg.Probes...)
	seen := map[string]bool{}
	var out []nf.Probe
	for _, p := range all {
		if !seen[p.Name] {
			seen[p.Name] = true
			out = append(out, p)
		}
	}
	return out
}

// PathProbes returns the standard probes of the Env, ordered by hook and priority. There are none with Config.NoPath,
// and none behind the confirmation with Conntrack off, because their rules would enable conntrack.
func (e *Env) PathProbes() []nf.Probe {
	if e.cfg.NoPath {
		return nil
	}
	var all []nf.Probe
	for _, f := range nf.Families() {
		if f != nf.IPv6 || e.hasIPv6() {
			all = append(all, nf.PathProbes(f)...)
		}
	}
	if e.cfg.Conntrack == Off {
		all = slices.DeleteFunc(all, nf.Probe.BehindConfirm)
	}
	return all
}

// collectProbes collects a chain for each hook and priority and a counter for each probe. Probes of the last priority depend
// on the order: the first reference to conntrack registers its hooks, and of hooks with equal priority the older runs last. The
// kernel registers hooks as it reads a transaction, not at its end (net/netfilter/nf_tables_api.c, nf_tables_addchain;
// net/netfilter/nft_ct.c, nft_ct_get_init).
func (e *Env) collectProbes(probes []nf.Probe, beforeConfirm bool) {
	o := e.owned
	chains := map[string]*nftables.Chain{}
	chainOf := func(p nf.Probe, name string) *nftables.Chain {
		if chains[name] == nil {
			chains[name] = o.rules.AddChain(&nftables.Chain{
				Table: o.inet, Name: name, Type: nftables.ChainTypeFilter,
				Hooknum:  nftables.ChainHookRef(nftables.ChainHook(*nftables.ChainHookPrerouting) + nftables.ChainHook(p.Hook)),
				Priority: nftables.ChainPriorityRef(nftables.ChainPriority(p.Priority)),
			})
		}
		return chains[name]
	}
	for _, p := range probes {
		chainOf(p, chainName(p))
	}
	if !beforeConfirm {
		for _, p := range e.probes() {
			if isBeforeConfirm(p) { // a dump reads it before what is behind: what passes meanwhile does not look lost
				o.rules.AddObj(&nftables.CounterObj{Table: o.inet, Name: p.Name})
			}
		}
		for _, hook := range classHooks {
			if e.logsClasses() {
				chainOf(nf.Probe{Hook: hook, Priority: nf.PriorityConntrack}, classChain(hook))
			}
		}
		for _, p := range e.PathProbes() {
			if isBeforeConfirm(p) {
				o.add(o.inet, chainOf(p, chainBehind(p)), fmt.Sprintf("%s%v/%v", ours.Passed, p.Family, p.Hook), matchExprs(nf.Probe{Family: p.Family})...)
			}
		}
	}
	for _, p := range probes {
		add := o.add
		if beforeConfirm {
			add = o.count
		}
		add(o.inet, chains[chainName(p)], p.Name, matchExprs(p)...)
	}
	if beforeConfirm {
		return
	}
	for _, p := range probes {
		if p.BehindConfirm() && !e.cfg.NoPath {
			e.addReplies(chains[chainName(p)], p)
		}
	}
	if e.cfg.Silent {
		e.addSilence()
	}
	if e.hasIPv6() {
		o.addQuiet()
	}
	if e.cfg.Trace {
		e.addTrace()
	}
	if e.cfg.Conntrack == On {
		e.addReference()
	}
}

// chainName returns the name of a probe's chain. Probes at the same hook and priority share it.
func chainName(p nf.Probe) string {
	if p.BehindConfirm() {
		return chainBehind(p)
	}
	return strings.ReplaceAll(fmt.Sprintf("%v_%d", p.Hook, p.Priority), "-", "m")
}

// chainBehind returns the name of the chain that is behind the confirmation in the hook of p, and behind all rules of the user.
func chainBehind(p nf.Probe) string {
	return fmt.Sprintf("%v_%d_confirmed", p.Hook, nf.PriorityConfirm)
}

// isBeforeConfirm reports whether p needs a chain that is younger than the confirm hook. In the other hooks a probe of the last
// priority is older than the user's rules, so that it is behind all of them.
func isBeforeConfirm(p nf.Probe) bool {
	return p.Priority == nf.PriorityConfirm && !p.BehindConfirm() && (p.Hook == nf.Input || p.Hook == nf.Postrouting)
}

// addReference enables conntrack for both families by a ct expression in a chain that is never used
// (net/netfilter/nft_ct.c, nft_ct_get_init).
func (e *Env) addReference() {
	o := e.owned
	c := o.rules.AddChain(&nftables.Chain{Table: o.inet, Name: "conntrack_on"})
	o.rules.AddRule(&nftables.Rule{Table: o.inet, Chain: c, Exprs: []expr.Any{&expr.Ct{Key: expr.CtKeySTATE, Register: 1}}})
}

// addSilence drops packets that the host sends without a user's socket. The first rule accepts the others: skuid cannot
// be loaded without a socket (net/netfilter/nft_meta.c, nft_meta_get_eval_skugid), in which case the rule does not
// match.
func (e *Env) addSilence() {
	o := e.owned
	c := o.rules.AddChain(&nftables.Chain{
		Table: o.inet, Name: "silence", Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookOutput,
		Priority: nftables.ChainPriorityRef(nftables.ChainPriority(nf.PriorityFirst)),
	})
	o.rules.AddRule(&nftables.Rule{Table: o.inet, Chain: c, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeySKUID, Register: 1},
		&expr.Verdict{Kind: expr.VerdictAccept},
	}})
	o.add(o.inet, c, nf.Silenced)
	o.rules.AddRule(&nftables.Rule{Table: o.inet, Chain: c, Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}})
}

// addQuiet drops the multicast reports that the host sends at an unpredictable time after its links are up. No sysctl
// turns them off (net/ipv6/mcast.c, igmp6_group_added).
func (o *owned) addQuiet() {
	c := o.rules.AddChain(&nftables.Chain{
		Table: o.inet, Name: "quiet", Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookOutput,
		Priority: nftables.ChainPriorityRef(nftables.ChainPriority(nf.PriorityFirst)),
	})
	const report, done, report2 = 131, 132, 143 // include/uapi/linux/icmpv6.h, ICMPV6_MGM_REPORT and so on
	for _, typ := range []byte{report, done, report2} {
		o.rules.AddRule(&nftables.Rule{Table: o.inet, Chain: c, Exprs: append(
			matchExprs(nf.Probe{Family: nf.IPv6, Match: nf.Match{Proto: nf.ICMPv6}}),
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Len: 1},
			equal([]byte{typ}),
			&expr.Verdict{Kind: expr.VerdictDrop},
		)})
	}
}

// collectCopies makes the kernel copy each fragment before it defragments, by a rule that writes a byte of the header to
// where it was read. Captures hold clones, which share their data with the packets themselves. When the kernel fragments
// a packet again that it has reassembled, it writes new headers over those of the fragments that arrived, without
// regard to clones (net/ipv4/ip_output.c, ip_do_fragment and ip_fraglist_prepare; net/ipv6/ip6_output.c,
// ip6_fragment). Before nftables writes, it copies a packet that has a clone (net/netfilter/nft_payload.c,
// nft_payload_set_eval; net/core/skbuff.c, skb_ensure_writable).
//
// The rule is in the chain of a probe before defragmentation; if there is none, a chain is created. Without captures and path,
// it is needed only for the other end of a wire, whose captures have the same packets. Where the kernel lets no rule write, see
// CopiesFragments.
func (o *owned) collectCopies(ofProbe bool) {
	c := &nftables.Chain{Table: o.inet, Name: chainName(nf.DefragPrerouting)}
	if !ofProbe {
		c = o.rules.AddChain(&nftables.Chain{
			Table: o.inet, Name: "copies", Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookPrerouting,
			Priority: nftables.ChainPriorityRef(nftables.ChainPriority(nf.PriorityDefrag - 1)),
		})
	}
	isFragment := map[nf.Family][]expr.Any{
		nf.IPv4: {
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 6, Len: 2},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 2, Mask: []byte{0x3f, 0xff}, Xor: []byte{0, 0}},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{0, 0}},
		},
		nf.IPv6: {
			&expr.Exthdr{DestRegister: 1, Type: unix.IPPROTO_FRAGMENT, Len: 1, Flags: unix.NFT_EXTHDR_F_PRESENT, Op: expr.ExthdrOpIpv6},
			equal([]byte{1}),
		},
	}
	hops := map[nf.Family]uint32{nf.IPv4: 8, nf.IPv6: 7} // offset of the byte
	for _, f := range nf.Families() {
		o.rules.AddRule(&nftables.Rule{Table: o.inet, Chain: c, Exprs: slices.Concat(matchExprs(nf.Probe{Family: f}), isFragment[f], []expr.Any{
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: hops[f], Len: 1},
			&expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: hops[f], Len: 1},
		})})
	}
}

// copyFragments is collectCopies for an open Env.
func (e *Env) copyFragments() error {
	o := e.owned
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.copies {
		return nil
	}
	may, err := e.rulesMayWrite()
	if err == nil && may {
		o.collectCopies(false)
		err = o.flush()
	}
	if err != nil {
		return fmt.Errorf("copy fragments: %w", err)
	}
	o.copies = may
	return nil
}

// beQuiet is addQuiet for an open Env.
func (o *owned) beQuiet() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.quiet {
		return nil
	}
	o.addQuiet()
	if err := o.flush(); err != nil {
		return fmt.Errorf("drop multicast reports: %w", err)
	}
	o.quiet = true
	return nil
}

// matchExprs returns the nftables expressions that match the packets that the probe counts.
func matchExprs(p nf.Probe) []expr.Any {
	var out []expr.Any
	m := p.Match
	family := p.Family
	for _, a := range []netip.Prefix{m.Src, m.Dst} {
		if a.IsValid() {
			family = nf.FamilyOf(a.Addr())
		}
	}
	if family != 0 {
		out = append(out, &expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, equal([]byte{byte(family)}))
	}
	if m.In != "" {
		out = append(out, &expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, equal(ifname(m.In)))
	}
	if m.Out != "" {
		out = append(out, &expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, equal(ifname(m.Out)))
	}
	if m.Src.IsValid() {
		out = append(out, address(m.Src, 12, 8)...)
	}
	if m.Dst.IsValid() {
		out = append(out, address(m.Dst, 16, 24)...)
	}
	if m.Proto != 0 {
		out = append(out, &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equal([]byte{byte(m.Proto)}))
	}
	for offset, port := range []uint16{m.SrcPort, m.DstPort} {
		if port != 0 {
			out = append(out,
				&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: uint32(2 * offset), Len: 2},
				equal(binary.BigEndian.AppendUint16(nil, port)))
		}
	}
	if mask := m.TCPMask(); mask != 0 {
		out = append(out,
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{byte(mask)}, Xor: []byte{0}},
			equal([]byte{byte(m.Flags)}))
	}
	if p.State != 0 {
		out = append(out, &expr.Ct{Key: expr.CtKeySTATE, Register: 1})
		out = append(out, masked(uint32(p.State), expr.CmpOpNeq, 0)...)
	}
	if p.Status != 0 {
		out = append(out, &expr.Ct{Key: expr.CtKeySTATUS, Register: 1})
		out = append(out, masked(uint32(p.Status), expr.CmpOpEq, uint32(p.Status))...)
	}
	if p.MarkMask != 0 {
		out = append(out, &expr.Ct{Key: expr.CtKeyMARK, Register: 1})
		out = append(out, masked(p.MarkMask, expr.CmpOpEq, p.Mark&p.MarkMask)...)
	}
	if p.Dir != 0 {
		reply := byte(0) // IP_CT_DIR_ORIGINAL
		if p.Dir == nf.Reply {
			reply = 1
		}
		out = append(out, &expr.Ct{Key: expr.CtKeyDIRECTION, Register: 1}, equal([]byte{reply}))
	}
	return out
}

func equal(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }

// ifname returns an interface name as the kernel compares it: all 16 bytes.
func ifname(name string) []byte {
	b := make([]byte, 16)
	copy(b, name)
	return b
}

// address returns the expressions that compare the prefix of an address in the network header, whose offset depends on
// the family.
func address(p netip.Prefix, offset4, offset6 uint32) []expr.Any {
	p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()).Masked()
	offset, size := offset4, 4
	if p.Addr().Is6() {
		offset, size = offset6, 16
	}
	mask := make([]byte, size)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(size)},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: uint32(size), Mask: mask, Xor: make([]byte, size)},
		equal(p.Addr().AsSlice()),
	}
}

// masked returns the expressions that compare the bits of mask in the register, which is in host byte order.
func masked(mask uint32, op expr.CmpOp, want uint32) []expr.Any {
	return []expr.Any{
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binary.NativeEndian.AppendUint32(nil, mask), Xor: make([]byte, 4)},
		&expr.Cmp{Op: op, Register: 1, Data: binary.NativeEndian.AppendUint32(nil, want)},
	}
}

// collectInvalid logs each INVALID packet to an NFLOG group, directly behind conntrack, because the kernel does not log a
// reason for all of them. The chains are those of collectProbes. They have conntrack's own priority and are older than its hooks, so
// that they are behind it (net/netfilter/core.c, nf_hook_entries_grow) and before all rules of the user that are. With a threshold
// of 1, a packet is sent without waiting for the next (net/netfilter/nfnetlink_log.c, nfulnl_log_packet).
func (o *owned) collectInvalid() {
	for _, hook := range classHooks {
		o.rules.AddRule(&nftables.Rule{Table: o.inet, Chain: &nftables.Chain{Table: o.inet, Name: classChain(hook)}, Exprs: append(matchExprs(nf.Probe{State: nf.StateInvalid}),
			&expr.Log{Key: 1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_QTHRESHOLD, Group: ours.InvalidGroup, QThreshold: 1})})
	}
}

// classHooks are the hooks in which conntrack gives packets their class.
var classHooks = []nf.Hook{nf.Prerouting, nf.Output}

// classChain returns the name of our chain directly behind conntrack in one of them.
func classChain(h nf.Hook) string { return "invalid_" + h.String() }

// logsClasses reports whether the Env has these chains.
func (e *Env) logsClasses() bool { return e.reasons && e.cfg.Conntrack == On }

// Classify logs from now on what conntrack calls each packet that comes in or that the host sends, directly behind
// conntrack: an Observer reads it from NFLOG. It takes a few microseconds for each packet. A second call does nothing.
// Without conntrack or with NoReasons it is an error, and an nf.UnsupportedError if the kernel has no nft_log.
//
// A rule per class gives the packets its name, because not every kernel reports the class in NFLOG
// (CONFIG_NETFILTER_NETLINK_GLUE_CT). The rules are in chains that every Env has, because a new chain would lead packets
// astray that are held at that moment.
func (e *Env) Classify(ctx context.Context) error {
	lacking := nf.UnsupportedError{Need: "classes of packets", Hint: "a kernel with CONFIG_NFT_LOG and CONFIG_NETFILTER_NETLINK_LOG"}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case e.cfg.NoReasons || e.cfg.Conntrack != On:
		return errNoClasses
	case !e.reasons:
		return &lacking
	}
	o := e.owned
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.classifies {
		return nil
	}
	for _, hook := range classHooks {
		for _, class := range nf.Classes() {
			o.rules.AddRule(&nftables.Rule{
				Table: o.inet, Chain: &nftables.Chain{Table: o.inet, Name: classChain(hook)},
				Exprs: append(classExprs(class), &expr.Log{
					Key:   1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_QTHRESHOLD | 1<<unix.NFTA_LOG_PREFIX,
					Group: ours.InvalidGroup, QThreshold: 1, Data: []byte(class.String()),
				}),
			})
		}
	}
	if err := o.flush(); err != nil {
		return fmt.Errorf("log classes: %w", lackIf(err, lacking, noExpression...))
	}
	o.classifies = true
	return nil
}

// addReplies adds two counters to the chain of p, which is behind the confirmation. One counts the replies that the
// host sends to packets without a confirmed entry: they are in the reply direction of an unconfirmed entry. The other
// counts INVALID packets, which have no entry.
func (e *Env) addReplies(c *nftables.Chain, p nf.Probe) {
	o := e.owned
	match := append(matchExprs(nf.Probe{Family: p.Family, Dir: nf.Reply}), &expr.Ct{Key: expr.CtKeySTATUS, Register: 1})
	match = append(match, masked(uint32(nf.Confirmed), expr.CmpOpEq, 0)...)
	o.add(o.inet, c, fmt.Sprintf("%s%v/%v", ours.Replies, p.Family, p.Hook), match...)
	o.add(o.inet, c, fmt.Sprintf("%s%v/%v", ours.InvalidConfirmed, p.Family, p.Hook), matchExprs(nf.Probe{Family: p.Family, State: nf.StateInvalid})...)
}

// reasonLogs are the sysctls for the loggers of IPv4 and IPv6, by the numbers of the families.
var reasonLogs = []string{"net/netfilter/nf_log/2", "net/netfilter/nf_log/10"}

// The sysctl that makes conntrack log why a packet is INVALID, its value for all protocols, and the logger.
const (
	keyLogInvalid = "net/netfilter/nf_conntrack_log_invalid"
	allProtocols  = "255" // IPPROTO_RAW
	nflogLogger   = "nfnetlink_log"
)

// logReasons makes conntrack log to NFLOG group 0 why packets are INVALID. The loggers are set first, because since
// 6.17 a write to log_invalid loads one if none is set. A kernel without this is not an error; the Observer reports it.
func (e *Env) logReasons() error {
	if e.cfg.NoReasons {
		return nil
	}
	for i, key := range reasonLogs {
		err := e.setSysctl(key, nflogLogger)
		if errors.Is(err, os.ErrNotExist) && i == 0 && e.loadNFLog() == nil { // the logger's module was not loaded
			err = e.setSysctl(key, nflogLogger)
		}
		switch {
		case errors.Is(err, os.ErrNotExist):
			return nil
		case err != nil:
			return err
		}
	}
	err := e.setSysctl(keyLogInvalid, allProtocols)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	e.reasons = err == nil
	return err
}

// loadNFLog makes the kernel load nfnetlink_log by sending it a message (net/netfilter/nfnetlink.c, nfnetlink_rcv_msg).
// The message changes nothing: the socket is not bound to any group.
func (e *Env) loadNFLog() error {
	return e.do(func() error {
		conn, err := nfnl.Dial()
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.Do(nfnl.AppendLogUnbind(nil, 0))
		return nil
	})
}

// traceAt is before the first standard probe, and therefore before defragmentation.
const traceAt = nf.PriorityDefrag - 2

// addTrace enables tracing for all packets (net/netfilter/nft_meta.c, NFT_META_NFTRACE). This rule causes the first
// trace message of each packet, by which Observer.Trace recognizes a new packet.
func (e *Env) addTrace() {
	o := e.owned
	for _, hook := range []nf.Hook{nf.Prerouting, nf.Output} {
		c := o.rules.AddChain(&nftables.Chain{
			Table: o.inet, Name: ours.TracePrefix + hook.String(), Type: nftables.ChainTypeFilter,
			Hooknum:  nftables.ChainHookRef(nftables.ChainHook(hook)),
			Priority: nftables.ChainPriorityRef(nftables.ChainPriority(traceAt)),
		})
		o.rules.AddRule(&nftables.Rule{Table: o.inet, Chain: c, Exprs: []expr.Any{
			&expr.Immediate{Register: 1, Data: []byte{1}},
			&expr.Meta{Key: expr.MetaKeyNFTRACE, SourceRegister: true, Register: 1},
		}})
	}
}
