package ruleset

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/mdlayher/netlink"
	"github.com/ti-mo/netfilter"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// Conn is a netfilter netlink socket in the namespace, such as a *nfnl.Conn.
type Conn interface {
	// Query sends a request and returns all replies.
	Query(netlink.Message) ([]netlink.Message, error)
}

// Ruleset has the user's rules of a namespace at the time of reading. It does not include the rules of ctexp itself.
type Ruleset struct {
	legacy []nf.Rule // rules of iptables-legacy
	tables []table   // tables of nftables, in the kernel's order
}

// table is an nftables table.
type table struct {
	family   uint8
	name     string
	chains   []chain
	counters []Counter
	// lines has the rules as iptables-nft lists them, if it made the table and is installed.
	lines []nf.Rule
}

// Read reads all of the user's rules. It lists tables made by iptables by executing iptables, which takes a few
// milliseconds per chain, and other tables by executing nft once. Without iptables-nft, its tables are listed as
// nftables tables. Without nft, this package prints the rules itself.
func Read(ctx context.Context, ns Namespace, conn Conn) (Ruleset, error) {
	legacy, err := legacyRules(ctx, ns)
	if err != nil {
		return Ruleset{}, err
	}
	s, err := ReadTables(ctx, ns, conn, func(uint8, string) bool { return true })
	s.legacy = legacy
	return s, err
}

// ReadTables reads the rules of nftables, but only of the tables for which want returns true.
func ReadTables(ctx context.Context, ns Namespace, conn Conn, want func(family uint8, table string) bool) (Ruleset, error) {
	all, err := tables(conn)
	if err != nil {
		return Ruleset{}, err
	}
	all = slices.DeleteFunc(all, func(t table) bool { return !want(t.family, t.name) })
	texts := listing{ns: ns}
	for i := range all {
		if err := all[i].read(ctx, ns, conn, &texts); err != nil {
			return Ruleset{}, err
		}
	}
	return Ruleset{tables: all}, nil
}

// read reads the counters and rules of the table.
func (t *table) read(ctx context.Context, ns Namespace, conn Conn, texts *listing) error {
	fail := func(err error) error { return fmt.Errorf("read rules of nftables table %s: %w", t.name, err) }
	var err error
	if t.counters, err = Counters(conn, t.family, t.name); err != nil {
		return err
	}
	answers, err := dump(conn, unix.NFT_MSG_GETRULE, t.family, nameAttr(unix.NFTA_RULE_TABLE, t.name))
	if err != nil {
		return fail(err)
	}
	for _, m := range answers {
		r, err := decodeRule(m.Data)
		if err != nil {
			return fail(err)
		}
		if i := slices.IndexFunc(t.chains, func(c chain) bool { return c.name == r.chain }); i >= 0 {
			t.chains[i].rules = append(t.chains[i].rules, r)
		}
	}
	if t.byIPTables() {
		family := nf.IPv4
		if t.family == unix.NFPROTO_IPV6 {
			family = nf.IPv6
		}
		err := ns.Do(func() (err error) {
			t.lines, err = readIPTables(ctx, nf.IPTablesNFT, family, t.name)
			return err
		})
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	sets := anonymousSets{conn: conn, table: t}
	for _, c := range t.chains {
		if err := ctx.Err(); err != nil {
			return err
		}
		lines := t.linesOf(c)
		for i := range c.rules {
			r := &c.rules[i]
			r.line = nf.Rule{Backend: "nft", Family: FamilyName(t.family), Table: t.name, Chain: c.name, Handle: r.handle, Kind: nf.KindRule, Comment: r.comment}
			for _, e := range r.exprs {
				if e.name == "counter" {
					r.line.Counted, r.line.Packets, r.line.Bytes = true, e.u64(unix.NFTA_COUNTER_PACKETS), e.u64(unix.NFTA_COUNTER_BYTES)
					break
				}
			}
			for _, e := range r.exprs {
				if e.looksUpVerdict() {
					r.mapped = append(r.mapped, sets.verdicts(e.text(unix.NFTA_LOOKUP_SET))...)
				}
			}
			text, ok := "", false
			if lines != nil {
				r.line.Backend, text, ok = string(nf.IPTablesNFT), lines[i].Text, true
			} else if text, ok = texts.text(ctx, r.line); !ok {
				text = printRule(*r, sets.get, texts.link)
			}
			r.line.Text = text
		}
	}
	return nil
}

// linesOf returns the lines of iptables-nft for the rules of a chain, or nil if their numbers differ.
func (t *table) linesOf(c chain) (lines []nf.Rule) {
	for _, l := range t.lines {
		if l.Chain == c.name && l.Kind == nf.KindRule {
			lines = append(lines, l)
		}
	}
	if len(lines) != len(c.rules) {
		return nil
	}
	return lines
}

// byIPTables reports whether iptables-nft made the table, judging by the names of the table and a base chain.
func (t *table) byIPTables() bool {
	if _, ok := iptablesPriorities[t.name]; !ok || t.family != unix.NFPROTO_IPV4 && t.family != unix.NFPROTO_IPV6 {
		return false
	}
	i := slices.IndexFunc(t.chains, func(c chain) bool { _, ok := iptablesHooks[c.name]; return ok })
	return i >= 0 && t.chains[i].base
}

// Rules returns the rules and policies of iptables, in both variants, and the rules, drop policies and named counters
// of nftables.
func (s Ruleset) Rules() []nf.Rule {
	rules := s.legacy
	for _, t := range s.tables {
		if t.lines != nil {
			rules = append(rules, t.lines...)
			continue
		}
		for _, c := range t.chains {
			for _, r := range c.rules {
				rules = append(rules, r.line)
			}
			if c.drop {
				rules = append(rules, t.policy(c))
			}
		}
		for _, c := range t.counters {
			rules = append(rules, nf.Rule{
				Backend: "nft", Family: FamilyName(t.family), Table: t.name,
				Kind: nf.KindCounter, Text: c.Name, Counted: true, Packets: c.Packets, Bytes: c.Bytes,
			})
		}
	}
	return rules
}

// policy returns the drop policy of a chain.
func (t *table) policy(c chain) nf.Rule {
	r := nf.Rule{Backend: "nft", Family: FamilyName(t.family), Table: t.name, Chain: c.name, Kind: nf.KindPolicy, Text: "drop"}
	if t.lines != nil {
		r.Backend = string(nf.IPTablesNFT)
	}
	return r
}

// Text returns the text of an nftables rule, or "" if there is no such rule.
func (s Ruleset) Text(family uint8, tableName string, handle uint64) string {
	for _, t := range s.tables {
		if t.family != family || t.name != tableName {
			continue
		}
		for _, c := range t.chains {
			for _, r := range c.rules {
				if r.handle == handle {
					return r.line.Text
				}
			}
		}
	}
	return ""
}

// Traces reports whether a rule enables tracing: meta nftrace set 1 in nft, or TRACE in iptables.
func (s Ruleset) Traces() bool {
	for _, t := range s.tables {
		for _, c := range t.chains {
			for _, r := range c.rules {
				for _, e := range r.exprs {
					_, sets := e.attrs[unix.NFTA_META_SREG]
					if e.name == "meta" && sets && e.u32(unix.NFTA_META_KEY) == unix.NFT_META_NFTRACE ||
						e.name == "target" && e.text(unix.NFTA_TARGET_NAME) == "TRACE" {
						return true
					}
				}
			}
		}
	}
	return slices.ContainsFunc(s.legacy, func(r nf.Rule) bool { return iptablesTarget(r) == "TRACE" })
}

// TraceOff returns the first rule that may disable tracing for a packet, "meta nftrace set 0": its family, table, chain
// and handle. ok is false if there is none.
func TraceOff(conn Conn) (r nf.Rule, ok bool, err error) { return find(conn, rule.endsTrace) }

// EventsMasked returns the first rule that keeps entries from having some events, "ct event set" or --ctevents of iptables-nft, as
// TraceOff does.
func EventsMasked(conn Conn) (r nf.Rule, ok bool, err error) { return find(conn, rule.masksEvents) }

// find returns the first rule of the user that is as it is looked for.
func find(conn Conn, is func(rule) bool) (r nf.Rule, ok bool, err error) {
	answers, err := dump(conn, unix.NFT_MSG_GETRULE, unix.NFPROTO_UNSPEC)
	if err != nil {
		return r, false, fmt.Errorf("list nftables rules: %w", err)
	}
	for _, m := range answers {
		rule, err := decodeRule(m.Data)
		if err != nil {
			return r, false, err
		}
		if !ours.IsTable(rule.family, rule.table) && is(rule) {
			return nf.Rule{
				Backend: "nft", Family: FamilyName(rule.family), Table: rule.table, Chain: rule.chain, Handle: rule.handle, Kind: nf.KindRule,
				Text: printRule(rule, func(string) *set { return nil }, func(index uint32) string { return fmt.Sprint(index) }),
			}, true, nil
		}
	}
	return r, false, nil
}

// masksEvents reports whether a rule says which events an entry has (net/netfilter/nft_ct.c, nft_ct_set_eval; net/netfilter/xt_CT.c).
func (r rule) masksEvents() bool {
	const events = 4 // offset of ct_events in struct xt_ct_target_info, include/uapi/linux/netfilter/xt_CT.h
	return slices.ContainsFunc(r.exprs, func(e expression) bool {
		switch e.name {
		case "ct":
			_, sets := e.attrs[unix.NFTA_CT_SREG]
			return sets && e.u32(unix.NFTA_CT_KEY) == unix.NFT_CT_EVENTMASK
		case "target":
			info := e.attrs[unix.NFTA_TARGET_INFO]
			return e.text(unix.NFTA_TARGET_NAME) == "CT" && len(info) >= events+4 && binary.NativeEndian.Uint32(info[events:]) != 0
		}
		return false
	})
}

// endsTrace reports whether a rule sets nftrace to something else than 1.
func (r rule) endsTrace() bool {
	set := map[int]bool{} // registers that have the constant 1
	for _, e := range r.exprs {
		switch e.name {
		case "immediate":
			data := e.data(unix.NFTA_IMMEDIATE_DATA)
			set[register(e.u32(unix.NFTA_IMMEDIATE_DREG))] = len(data) == 1 && data[0] == 1
		case "meta":
			_, sets := e.attrs[unix.NFTA_META_SREG]
			if sets && e.u32(unix.NFTA_META_KEY) == unix.NFT_META_NFTRACE && !set[register(e.u32(unix.NFTA_META_SREG))] {
				return true
			}
		}
	}
	return false
}

// IsTraced reports whether netnsenv has enabled tracing in the namespace.
func IsTraced(conn Conn) (bool, error) {
	chains, err := readChains(conn)
	return slices.ContainsFunc(chains, func(c chain) bool {
		return ours.IsTable(c.family, c.table) && strings.HasPrefix(c.name, ours.TracePrefix)
	}), err
}

// HasFlowtables reports whether the user has a flowtable.
func HasFlowtables(conn Conn) (bool, error) {
	flowtables, err := dump(conn, unix.NFT_MSG_GETFLOWTABLE, unix.NFPROTO_UNSPEC)
	if err != nil {
		return false, fmt.Errorf("list nftables flowtables: %w", err)
	}
	return len(flowtables) > 0, nil
}

// Counters reads the named counters of a table in the kernel's order.
func Counters(conn Conn, family uint8, table string) ([]Counter, error) {
	objects, err := dump(conn, unix.NFT_MSG_GETOBJ, family, nameAttr(unix.NFTA_OBJ_TABLE, table),
		netfilter.Attribute{Type: unix.NFTA_OBJ_TYPE, Data: netfilter.Uint32Bytes(unix.NFT_OBJECT_COUNTER)})
	if err != nil {
		return nil, fmt.Errorf("read named counters of table %s: %w", table, err)
	}
	var counters []Counter
	for _, o := range objects {
		c, ok, err := decodeCounter(o.Data)
		if err != nil {
			return nil, fmt.Errorf("read named counters of table %s: %w", table, err)
		}
		if ok {
			counters = append(counters, c)
		}
	}
	return counters, nil
}

// tables reads the user's tables and their chains without the rules.
func tables(conn Conn) ([]table, error) {
	answers, err := dump(conn, unix.NFT_MSG_GETTABLE, unix.NFPROTO_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("list nftables tables: %w", err)
	}
	chains, err := readChains(conn)
	if err != nil {
		return nil, err
	}
	var all []table
	for _, m := range answers {
		family, a, err := decodeMessage(m.Data)
		if err != nil {
			return nil, fmt.Errorf("nftables table: %w", err)
		}
		t := table{family: family, name: a.text(unix.NFTA_TABLE_NAME)}
		if ours.IsTable(family, t.name) {
			continue
		}
		for _, c := range chains {
			if c.table == t.name && c.family == family {
				t.chains = append(t.chains, c)
			}
		}
		all = append(all, t)
	}
	return all, nil
}

// readChains reads the chains of all tables.
func readChains(conn Conn) ([]chain, error) {
	answers, err := dump(conn, unix.NFT_MSG_GETCHAIN, unix.NFPROTO_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("list nftables chains: %w", err)
	}
	var chains []chain
	for _, m := range answers {
		c, err := decodeChain(m.Data)
		if err != nil {
			return nil, err
		}
		chains = append(chains, c)
	}
	counted := map[string]bool{}
	for _, c := range chains {
		if ours.IsTable(c.family, c.table) && strings.HasPrefix(c.name, ours.Left) {
			for _, d := range c.devices {
				counted[d] = true
			}
		}
	}
	for i, c := range chains {
		chains[i].uncounted = c.base && !ours.IsTable(c.family, c.table) && c.isUncounted(counted)
	}
	return chains, nil
}

// isUncounted reports whether a base chain is at the hook of a bridge, at the hook egress at the first priority or of a device that
// is not counted there, or before the first probe of its hook. What is lost before that of prerouting is known by the count at ingress.
func (c chain) isUncounted(counted map[string]bool) bool {
	switch {
	case c.family == unix.NFPROTO_BRIDGE:
		return true
	case c.family == unix.NFPROTO_NETDEV && c.hook == unix.NF_NETDEV_EGRESS:
		return c.priority == nf.PriorityFirst || slices.ContainsFunc(c.devices, func(d string) bool { return !counted[d] })
	case c.family != unix.NFPROTO_NETDEV && c.hook != nf.Prerouting:
		return c.priority <= nf.MangleInput.Priority
	}
	return false
}

// HasUncounted reports whether the user has base chains in which packets are dropped that no probe of ours counts: those of
// bridges, those of the hook egress that are of its first priority, or of a device without our chains, and those before our first probe.
func HasUncounted(conn Conn) (bool, error) {
	chains, err := readChains(conn)
	return slices.ContainsFunc(chains, func(c chain) bool { return c.uncounted }), err
}

// dump requests all nftables objects of one kind; the zero family means all families.
func dump(conn Conn, typ netfilter.MessageType, family uint8, filter ...netfilter.Attribute) ([]netlink.Message, error) {
	req, err := netfilter.MarshalNetlink(netfilter.Header{
		SubsystemID: netfilter.NFSubsysNFTables, MessageType: typ, Family: netfilter.ProtoFamily(family), Flags: netlink.Dump,
	}, filter)
	if err != nil {
		return nil, err
	}
	return conn.Query(req)
}

// Packets returns the packet count of a named counter. If there is none, the error matches unix.ENOENT.
func Packets(conn Conn, family uint8, table, counter string) (uint64, error) {
	req, err := netfilter.MarshalNetlink(netfilter.Header{
		SubsystemID: netfilter.NFSubsysNFTables, MessageType: unix.NFT_MSG_GETOBJ, Family: netfilter.ProtoFamily(family),
	}, []netfilter.Attribute{
		nameAttr(unix.NFTA_OBJ_TABLE, table), nameAttr(unix.NFTA_OBJ_NAME, counter),
		{Type: unix.NFTA_OBJ_TYPE, Data: netfilter.Uint32Bytes(unix.NFT_OBJECT_COUNTER)},
	})
	if err != nil {
		return 0, err
	}
	answers, err := conn.Query(req)
	if err != nil {
		return 0, err
	}
	if len(answers) != 1 {
		return 0, fmt.Errorf("%d answers, want 1", len(answers))
	}
	c, ok, err := decodeCounter(answers[0].Data)
	if err == nil && !ok {
		err = errors.New("it is no counter")
	}
	return c.Packets, err
}

func nameAttr(typ uint16, name string) netfilter.Attribute {
	return netfilter.Attribute{Type: typ, Data: append([]byte(name), 0)}
}

// anonymousSets reads the sets of a table on demand.
type anonymousSets struct {
	conn  Conn
	table *table
	sets  map[string]*set // all sets of the table; nil before the first get
}

// get returns a set by name, with its elements if it is anonymous; nil if it cannot be read.
func (a *anonymousSets) get(name string) *set {
	if a.sets == nil {
		a.sets = map[string]*set{}
		answers, _ := dump(a.conn, unix.NFT_MSG_GETSET, a.table.family, nameAttr(unix.NFTA_SET_TABLE, a.table.name))
		for _, m := range answers {
			if _, s, err := decodeMessage(m.Data); err == nil {
				a.sets[s.text(unix.NFTA_SET_NAME)] = &set{
					flags: s.u32(unix.NFTA_SET_FLAGS), keyLen: int(s.u32(unix.NFTA_SET_KEY_LEN)), dataLen: int(s.u32(unix.NFTA_SET_DATA_LEN)),
				}
			}
		}
	}
	s := a.sets[name]
	if s == nil || s.flags&unix.NFT_SET_ANONYMOUS == 0 {
		return s
	}
	return a.fill(name, s)
}

// verdicts returns what the elements of a verdict map lead to.
func (a *anonymousSets) verdicts(name string) (all []verdict) {
	s := a.get(name)
	if s == nil {
		return nil
	}
	for _, e := range a.fill(name, s).elements {
		if e.isVerdict {
			all = append(all, e.verdict)
		}
	}
	return all
}

// fill reads the elements of a set, unless they were read.
func (a *anonymousSets) fill(name string, s *set) *set {
	if s.elements != nil {
		return s
	}
	answers, _ := dump(a.conn, unix.NFT_MSG_GETSETELEM, a.table.family,
		nameAttr(unix.NFTA_SET_ELEM_LIST_TABLE, a.table.name), nameAttr(unix.NFTA_SET_ELEM_LIST_SET, name))
	for _, m := range answers {
		if _, list, err := decodeMessage(m.Data); err == nil {
			for _, e := range list.list(unix.NFTA_SET_ELEM_LIST_ELEMENTS) {
				s.elements = append(s.elements, decodeElement(e))
			}
		}
	}
	return s
}

// listing has the rules as text, by executing nft at most once.
type listing struct {
	ns    Namespace
	texts map[ruleKey]string // nil before nft has been executed
	links map[uint32]string  // names of links by index; nil before they have been listed
}

// ruleKey identifies a rule. Handles are unique within a table.
type ruleKey struct {
	family, table string
	handle        uint64
}

// text returns the text of a rule; ok is false if nft is not installed or does not list the rule.
func (l *listing) text(ctx context.Context, r nf.Rule) (text string, ok bool) {
	if l.texts == nil {
		l.texts = map[ruleKey]string{}
		if path, err := nftPath(); err == nil {
			// -t omits the elements of named sets, -s the packets and bytes of counters.
			if output, err := run(l.ns, exec.CommandContext(ctx, path, "-a", "-s", "-t", "list", "ruleset"), ""); err == nil {
				l.texts = parseListing(output)
			}
		}
	}
	text, ok = l.texts[ruleKey{r.Family, r.Table, r.Handle}]
	return text, ok
}

// link returns the quoted name of a link, or its index if there is no such link.
func (l *listing) link(index uint32) string {
	if l.links == nil {
		l.links = map[uint32]string{}
		_ = l.ns.Do(func() error {
			all, err := net.Interfaces()
			for _, i := range all {
				l.links[uint32(i.Index)] = fmt.Sprintf("%q", i.Name)
			}
			return err
		})
	}
	if name, ok := l.links[index]; ok {
		return name
	}
	return fmt.Sprint(index)
}

var listedHandle = regexp.MustCompile(`^(.*)# handle (\d+)$`)

// parseListing returns the texts of the rules in the output of nft -a list ruleset. A table begins in the first column;
// a rule follows two tabs and ends with its handle.
func parseListing(text string) map[ruleKey]string {
	texts := map[ruleKey]string{}
	var key ruleKey
	for l := range strings.Lines(text) {
		l = strings.TrimSuffix(l, "\n")
		if words := strings.Fields(l); strings.HasPrefix(l, "table ") && len(words) > 2 {
			key.family, key.table = words[1], words[2]
		}
		rule, ok := strings.CutPrefix(l, "\t\t")
		m := listedHandle.FindStringSubmatch(rule)
		if !ok || m == nil {
			continue
		}
		key.handle, _ = strconv.ParseUint(m[2], 10, 64) // it is all digits
		texts[key] = strings.TrimSpace(m[1])
	}
	return texts
}

// legacyRules returns the rules and policies of iptables-legacy. It lists only tables that exist according to the
// kernel, because listing a table by iptables-legacy would create it and register its hooks.
func legacyRules(ctx context.Context, ns Namespace) ([]nf.Rule, error) {
	var rules []nf.Rule
	err := ns.Do(func() error {
		for _, of := range []struct {
			family nf.Family
			list   string
		}{
			{nf.IPv4, "/proc/thread-self/net/ip_tables_names"},
			{nf.IPv6, "/proc/thread-self/net/ip6_tables_names"},
		} {
			names, err := os.ReadFile(of.list)
			if errors.Is(err, fs.ErrNotExist) {
				continue // the kernel does not have iptables-legacy, or its module is not loaded
			}
			if err != nil {
				return fmt.Errorf("list tables of iptables-legacy: %w", err)
			}
			tables := strings.Fields(string(names))
			slices.Sort(tables)
			more, err := readIPTables(ctx, nf.IPTablesLegacy, of.family, tables...)
			if err != nil {
				return err
			}
			rules = append(rules, more...)
		}
		return nil
	})
	return rules, err
}

// readIPTables reads tables by executing iptables. It must be called on a thread in the namespace.
func readIPTables(ctx context.Context, v nf.Variant, family nf.Family, tables ...string) ([]nf.Rule, error) {
	if len(tables) == 0 {
		return nil, nil
	}
	ipt, err := OpenIPTables(v, family)
	if err != nil {
		return nil, err
	}
	line := nf.Rule{Backend: string(v), Family: FamilyName(uint8(family))}
	var rules []nf.Rule
	for _, table := range tables {
		chains, err := ipt.ListChains(table)
		if err != nil {
			return nil, fmt.Errorf("list chains of %s table %s: %w", v, table, err)
		}
		line.Table = table
		for _, chain := range chains {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			listed, err := ipt.ListWithCounters(table, chain)
			if err != nil {
				return nil, fmt.Errorf("list %s chain %s %s: %w", v, table, chain, err)
			}
			for _, text := range listed {
				if r, ok := parseIPTables(line, text); ok {
					rules = append(rules, r)
				}
			}
		}
	}
	return rules, nil
}

// parseIPTables completes line from a line of iptables -v -S:
//
//	-P PREROUTING ACCEPT -c 10 400
//	-A PREROUTING -p tcp -c 7 280 -j MARK --set-xmark 0x1/0xffffffff
//
// ok is false for a line that is neither a rule nor the policy of a base chain, such as "-N http".
func parseIPTables(line nf.Rule, text string) (r nf.Rule, ok bool) {
	words := splitWords(text)
	if len(words) < 2 {
		return r, false
	}
	r, r.Chain = line, words[1]
	switch words[0] {
	case "-A":
		r.Kind = nf.KindRule
	case "-P":
		r.Kind = nf.KindPolicy
	default:
		return r, false
	}
	var rest []string
	for words = words[2:]; len(words) > 0; words = words[1:] {
		if words[0] == "-c" && len(words) > 2 && !r.Counted {
			packets, perr := strconv.ParseUint(words[1], 10, 64)
			bytes, berr := strconv.ParseUint(words[2], 10, 64)
			if perr == nil && berr == nil {
				r.Counted, r.Packets, r.Bytes = true, packets, bytes
				words = words[2:]
				continue
			}
		}
		rest = append(rest, words[0])
	}
	r.Text = strings.Join(rest, " ")
	return r, true
}

// iptablesWord matches a word in the output of iptables -S, which may have double quotes, as around a comment.
var iptablesWord = regexp.MustCompile(`(?:"(?:\\.|[^"\\])*"|\\.|[^ "\\])+`)

// splitWords splits text at blanks outside of double quotes. Unlike splitArguments, it keeps the quotes.
func splitWords(text string) []string { return iptablesWord.FindAllString(text, -1) }
