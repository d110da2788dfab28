package ruleset

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// ruleOf returns a rule with these expressions.
func ruleOf(t *testing.T, exprs ...expr.Any) rule {
	t.Helper()
	r, err := decodeRule(rulePayload(t, nil, exprs...))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A rule drops by its own verdict, by a verdict of a map, or by a target of iptables. It may lead to other chains.
func TestEndsOfARule(t *testing.T) {
	t.Parallel()
	vmap := &expr.Lookup{SourceRegister: 1, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true, SetName: "m"}
	data := &expr.Lookup{SourceRegister: 1, DestRegister: 1, IsDestRegSet: true, SetName: "m"}
	type ends struct {
		drops string
		byMap bool
		to    []string
	}
	for name, c := range map[string]struct {
		exprs  []expr.Any
		mapped []verdict
		want   ends
	}{
		"nothing":            {[]expr.Any{&expr.Counter{}}, nil, ends{}},
		"accept":             {[]expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}, nil, ends{}},
		"drop":               {[]expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}, nil, ends{drops: "drop"}},
		"jump":               {[]expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: "web"}}, nil, ends{to: []string{"web"}}},
		"goto":               {[]expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: "web"}}, nil, ends{to: []string{"web"}}},
		"reject":             {[]expr.Any{&expr.Reject{}}, nil, ends{drops: "reject"}},
		"target that drops":  {[]expr.Any{&expr.Target{Name: "REJECT", Info: &xt.Unknown{}}}, nil, ends{drops: "REJECT"}},
		"target":             {[]expr.Any{&expr.Target{Name: "MARK", Info: &xt.Unknown{}}}, nil, ends{}},
		"verdict map":        {[]expr.Any{vmap}, []verdict{{code: nfDrop}}, ends{drops: "drop", byMap: true, to: []string{anywhere}}},
		"map without a drop": {[]expr.Any{vmap}, []verdict{{code: unix.NFT_JUMP, to: "web"}}, ends{to: []string{anywhere}}},
		"map of data":        {[]expr.Any{data}, nil, ends{}},
		"both":               {[]expr.Any{vmap, &expr.Reject{}}, []verdict{{code: nfDrop}}, ends{drops: "reject", to: []string{anywhere}}},
	} {
		r := ruleOf(t, c.exprs...)
		r.mapped = c.mapped
		var got ends
		got.drops, got.byMap = r.drops()
		got.to = r.leads()
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(ends{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestHasNATOfAFamily(t *testing.T) {
	t.Parallel()
	of := func(family uint8, nat bool) Ruleset {
		return Ruleset{tables: []table{{family: family, chains: []chain{{name: "x"}, {name: "c", nat: nat}}}}}
	}
	legacy := func(family, name string) Ruleset { return Ruleset{legacy: []nf.Rule{{Family: family, Table: name}}} }
	for name, c := range map[string]struct {
		rules    Ruleset
		ip4, ip6 bool
	}{
		"nothing":       {Ruleset{}, false, false},
		"inet":          {of(unix.NFPROTO_INET, true), true, true},
		"inet, no NAT":  {of(unix.NFPROTO_INET, false), false, false},
		"ip":            {of(unix.NFPROTO_IPV4, true), true, false},
		"ip6":           {of(unix.NFPROTO_IPV6, true), false, true},
		"bridge":        {of(unix.NFPROTO_BRIDGE, true), false, false},
		"legacy":        {legacy("ip", "nat"), true, false},
		"legacy, ip6":   {legacy("ip6", "nat"), false, true},
		"legacy filter": {legacy("ip", "filter"), false, false},
	} {
		if ip4, ip6 := c.rules.HasNAT(nf.IPv4), c.rules.HasNAT(nf.IPv6); ip4 != c.ip4 || ip6 != c.ip6 {
			t.Errorf("%s: IPv4 %v, IPv6 %v; want %v, %v", name, ip4, ip6, c.ip4, c.ip6)
		}
	}
}

// Tracing is enabled by nft, by iptables-nft and by iptables-legacy.
func TestTracesFindsWhatEnablesTracing(t *testing.T) {
	t.Parallel()
	of := func(exprs ...expr.Any) Ruleset {
		return Ruleset{tables: []table{{chains: []chain{{rules: []rule{ruleOf(t, &expr.Counter{}), ruleOf(t, exprs...)}}}}}}
	}
	legacy := func(text string) Ruleset {
		return Ruleset{legacy: []nf.Rule{{Table: "raw", Chain: "PREROUTING", Kind: nf.KindRule, Text: text}}}
	}
	for name, c := range map[string]struct {
		rules Ruleset
		want  bool
	}{
		"nothing":            {Ruleset{}, false},
		"meta nftrace set":   {of(&expr.Meta{Key: unix.NFT_META_NFTRACE, SourceRegister: true, Register: 1}), true},
		"meta nftrace":       {of(&expr.Meta{Key: unix.NFT_META_NFTRACE, Register: 1}), false},
		"meta mark set":      {of(&expr.Meta{Key: unix.NFT_META_MARK, SourceRegister: true, Register: 1}), false},
		"target TRACE":       {of(&expr.Target{Name: "TRACE", Info: &xt.Unknown{}}), true},
		"target MARK":        {of(&expr.Target{Name: "MARK", Info: &xt.Unknown{}}), false},
		"legacy":             {legacy("-p tcp -j TRACE"), true},
		"legacy, of another": {legacy(`-m comment --comment "-j TRACE" -j MARK`), false},
	} {
		if got := c.rules.Traces(); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// The lines that iptables-nft lists are those of the rules if there are as many.
func TestLinesBelongToTheRulesOfAChain(t *testing.T) {
	t.Parallel()
	line := func(chain string, kind nf.RuleKind, text string) nf.Rule {
		return nf.Rule{Chain: chain, Kind: kind, Text: text}
	}
	tab := table{lines: []nf.Rule{
		line("INPUT", nf.KindPolicy, "ACCEPT"), line("INPUT", nf.KindRule, "a"), line("WEB", nf.KindRule, "b"), line("INPUT", nf.KindRule, "c"),
	}}
	for _, c := range []struct {
		chain chain
		want  []nf.Rule
	}{
		{chain{name: "INPUT", rules: make([]rule, 2)}, []nf.Rule{tab.lines[1], tab.lines[3]}},
		{chain{name: "WEB", rules: make([]rule, 1)}, tab.lines[2:3]},
		{chain{name: "WEB", rules: make([]rule, 2)}, nil},
		{chain{name: "INPUT", rules: make([]rule, 3)}, nil},
	} {
		if diff := cmp.Diff(c.want, tab.linesOf(c.chain)); diff != "" {
			t.Errorf("%s with %d rules (-want +got):\n%s", c.chain.name, len(c.chain.rules), diff)
		}
	}
}

// A value that fills several registers leaves nothing of what was there.
func TestLoadClearsWhatAValueCovers(t *testing.T) {
	t.Parallel()
	var p printer
	for n := range registers {
		p.registers[n] = operand{mask: []byte{byte(n)}}
	}
	value := operand{field: field{size: 9}}
	p.load(unix.NFT_REG32_00+1, value)
	for n, o := range p.registers {
		kept := n < 1 || n > 3
		if kept != (o.mask != nil) || (n == 1) != (o.size == 9) {
			t.Errorf("register %d: %+v", n, o)
		}
	}
}

func TestBytesHaveTheLargestUnit(t *testing.T) {
	t.Parallel()
	for n, want := range map[uint64]string{
		0: "0 bytes", 1: "1 bytes", 1023: "1023 bytes", 1024: "1 kbytes", 1025: "1025 bytes", 3 << 20: "3 mbytes", 5 << 30: "5120 mbytes",
	} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

// broken is a connection that answers some queries and then fails.
type broken struct {
	Conn
	left int
	err  error
}

func (b *broken) Query(m netlink.Message) ([]netlink.Message, error) {
	if b.left--; b.left < 0 {
		return nil, b.err
	}
	return b.Conn.Query(m)
}

// oneTable answers as a kernel with a table, a base chain and a rule.
type oneTable struct{ t *testing.T }

func (o oneTable) Query(m netlink.Message) ([]netlink.Message, error) {
	message := func(data []byte) []netlink.Message { return []netlink.Message{{Data: data}} }
	switch m.Header.Type & 0xff {
	case unix.NFT_MSG_GETTABLE:
		return message(payload(attr(unix.NFTA_TABLE_NAME, []byte("fw\x00")...))), nil
	case unix.NFT_MSG_GETCHAIN:
		return message(payload(attr(unix.NFTA_CHAIN_TABLE, []byte("fw\x00")...), attr(unix.NFTA_CHAIN_NAME, []byte("in\x00")...))), nil
	case unix.NFT_MSG_GETRULE:
		return message(rulePayload(o.t, nil, &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop})), nil
	}
	return nil, nil
}

// nowhere is a namespace in which nothing can be done, so that the rules are printed here.
type nowhere struct{}

func (nowhere) Do(func() error) error { return errors.New("there is no such namespace") }

// Whichever query fails, reading the rules does.
func TestAFailedQueryIsAnErrorOfTheRules(t *testing.T) {
	t.Parallel()
	all := func(uint8, string) bool { return true }
	s, err := ReadTables(t.Context(), nowhere{}, oneTable{t}, all)
	if text := s.Text(unix.NFPROTO_INET, "fw", 258); text != "counter drop" || err != nil {
		t.Fatalf("without a failure: %q, %v", text, err)
	}
	failed := errors.New("the socket is closed")
	for n := range 4 { // the tables, their chains, counters and rules
		if s, err := ReadTables(t.Context(), nowhere{}, &broken{oneTable{t}, n, failed}, all); !errors.Is(err, failed) {
			t.Errorf("after %d queries: %v, %v", n, s, err)
		}
	}
	for what, ask := range map[string]func(Conn) error{
		"HasFlowtables": func(c Conn) error { _, err := HasFlowtables(c); return err },
		"IsTraced":      func(c Conn) error { _, err := IsTraced(c); return err },
		"Counters":      func(c Conn) error { _, err := Counters(c, unix.NFPROTO_INET, "fw"); return err },
		"TraceOff":      func(c Conn) error { _, _, err := TraceOff(c); return err },
	} {
		if err := ask(&broken{oneTable{t}, 0, failed}); !errors.Is(err, failed) {
			t.Errorf("%s: %v", what, err)
		}
		if err := ask(oneTable{t}); err != nil {
			t.Errorf("%s without a failure: %v", what, err)
		}
	}
}
