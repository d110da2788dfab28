package ruleset

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ours"
)

var (
	nftPlace  = regexp.MustCompile(`(?m)^([^:\n]+):(\d+):(\d+)-(\d+): Error: (.*)(?:\n(.*))?$`)
	nftAdvice = regexp.MustCompile(`; did you mean .*$`)
	nftJump   = regexp.MustCompile(`^\s*:\s*(?:jump|goto)\s+([\w.-]+)`)
	nftNoName = regexp.MustCompile(`^syntax error, unexpected ([a-z]\S*?)(?:, expecting (.*))?$`)
	nftFlow   = regexp.MustCompile(`\bflow (?:add|offload) @([\w.-]+)`)
	nftEarly  = regexp.MustCompile(`(?s)^[\s{]*type\s+nat\s+hook\s+\w+\s+priority\s+(raw|-\d+)\s*;?[^\S\n]*\n`)
	nftHelper = regexp.MustCompile(`(?s)^[^}]*?type\s+"?([\w.-]+)"?\s+protocol\s+(tcp|udp)`)
)

// nftTry checks nft texts without loading them.
type nftTry struct {
	run   func(text string) (string, error) // nft -c
	links []string                          // the links of the namespace
}

// problems is a trial. nft reports problems of several lines at once.
func (t nftTry) problems(text string) (out []nf.RuleProblem, ok bool) {
	output, err := t.run(text)
	if err == nil {
		return nil, true
	}
	var follow []nf.RuleProblem
	for _, m := range nftPlace.FindAllStringSubmatch(output, -1) {
		n, _ := strconv.Atoi(m[2]) // they are all digits
		from, _ := strconv.Atoi(m[3])
		to, _ := strconv.Atoi(m[4])
		message := strings.TrimPrefix(m[5], "Could not process rule: ")
		if m[1] != nftStdin {
			out = append(out, nf.RuleProblem{File: m[1], Line: n, Column: from, Text: m[6], Why: message})
			continue
		}
		c := nftComplaint{text: text, line: n, from: from, to: to, message: message}
		if c.isMade() {
			follow = addProblem(follow, c.problem(t))
			continue
		}
		out = addProblem(out, c.problem(t))
		// After a syntax error at the beginning of a block or in a name, nft has misread everything that follows.
		if c.isKeyword() || strings.HasPrefix(c.message, syntaxError) && !isRule(lineOf(text, n)) {
			break
		}
	}
	if len(out) == 0 {
		return follow, false
	}
	return out, false
}

// nftComplaint is an error message of nft about a part of a line.
type nftComplaint struct {
	text           string
	line, from, to int // line, first and last column, counted from 1
	message        string
}

const (
	nftStdin    = "/dev/stdin"                // the file that nft -f - reads, in its messages
	syntaxError = "syntax error"              // how messages about the grammar begin
	noEntry     = "No such file or directory" // ENOENT
)

// isKeyword reports whether the error is that a name is a keyword of nft: where it wants a string, or the name of a chain
// behind a verdict.
func (c nftComplaint) isKeyword() bool {
	m, l := nftNoName.FindStringSubmatch(c.message), lineOf(c.text, c.line)
	if m == nil || c.from < 1 || c.to < c.from || c.to > len(l) || l[c.from-1:c.to] != m[1] {
		return false
	}
	before := strings.Fields(l[:c.from-1])
	return strings.HasPrefix(m[2], "string") || len(before) > 0 && slices.Contains([]string{"jump", "goto"}, before[len(before)-1])
}

// isMade reports whether the error is that a table does not exist where the text makes it: then the kernel has refused
// something else of it, which nft reports as well.
func (c nftComplaint) isMade() bool {
	before, at, _ := c.parts()
	if n := len(before); n > 0 && slices.Contains(nftFamilies, before[n-1]) {
		before = before[:n-1]
	}
	command := strings.Join(before, " ")
	return at != "" && strings.HasPrefix(c.message, noEntry) && slices.Contains([]string{"table", "add table", "create table"}, command)
}

// parts returns the words before what the error points at in its line, that without quotes, and what is behind it; or nothing, if it
// points beyond the line.
func (c nftComplaint) parts() (before []string, at, after string) {
	l := lineOf(c.text, c.line)
	if c.from < 1 || c.to < c.from || c.to > len(l) {
		return nil, "", ""
	}
	return strings.FieldsFunc(l[:c.from-1], isNftSpace), strings.Trim(l[c.from-1:c.to], `"`), l[c.to:]
}

// problem returns the problem, including the name that nft only points at and the missing module.
func (c nftComplaint) problem(t nftTry) nf.RuleProblem {
	p := nf.RuleProblem{Line: c.line, Column: c.from, Why: c.message}
	if a := nftAdvice.FindString(c.message); strings.Contains(a, ours.Table) {
		p.Why = strings.TrimSuffix(c.message, a) // do not suggest our own tables
	}
	l := lineOf(c.text, c.line)
	before, at, after := c.parts()
	switch {
	case at == "":
	case c.isKeyword():
		p.Keyword, p.Why = at, fmt.Sprintf("%q is a keyword of nft and cannot be a name", at)
	case strings.HasPrefix(p.Why, "Interface does not exist"):
		p.Link, p.Why = at, noLink(at, t.links)+" (iif needs an existing link, iifname does not)"
	case strings.HasPrefix(p.Why, noEntry):
		if why := missingName(before, at, after); why != "" {
			p.Why = why + strings.TrimPrefix(strings.TrimPrefix(p.Why, noEntry), nftItself(before, at))
			return p
		}
		if why, module, ok := c.helper(before, at); ok {
			p.Why, p.Module = why, module
			return p
		}
		fallthrough
	case strings.HasPrefix(p.Why, "Operation not supported"):
		if c.isEarlyNAT(before) {
			p.Why = "a chain of type nat needs a priority above -200, behind conntrack"
			return p
		}
		known, module := t.missingModule(l)
		if m := nftFlow.FindStringSubmatch(l); m != nil && module != "" && !strings.Contains(c.text, "flowtable "+m[1]) {
			p.Why = fmt.Sprintf("there is no flowtable %q", m[1])
		} else if module != "" {
			p.Why, p.Module = lacks(module), module
		} else if known && strings.HasPrefix(p.Why, "Operation") {
			p.Why += " in this hook, chain type or family"
		}
	}
	return p
}

// isEarlyNAT reports whether the error is at a chain of type nat that is to be met before conntrack, which the kernel refuses
// (net/netfilter/nf_tables_api.c, nft_chain_parse_hook).
func (c nftComplaint) isEarlyNAT(before []string) bool {
	if n := len(before); n == 0 || before[n-1] != "chain" {
		return false
	}
	m := nftEarly.FindStringSubmatch(c.behind() + "\n")
	if m == nil {
		return false
	}
	priority, err := strconv.Atoi(m[1])
	return err != nil || priority <= -200 // not a number: raw
}

// behind returns the text behind what the error points at.
func (c nftComplaint) behind() string {
	return strings.Join(strings.Split(c.text, "\n")[c.line-1:], "\n")[c.to:]
}

// nftItself returns the advice of nft to mean the table that was meant, which the text makes later.
func nftItself(before []string, at string) string {
	family := "ip"
	if n := len(before); n > 0 && slices.Contains(nftFamilies, before[n-1]) {
		family = before[n-1]
	}
	return fmt.Sprintf("; did you mean table ‘%s’ in family %s?", at, family)
}

var nftFamilies = []string{"ip", "ip6", "inet", "arp", "bridge", "netdev"}

func isNftSpace(r rune) bool { return strings.ContainsRune(" \t{};,", r) }

// missingName describes the missing object by the words before and after its name; "" if they do not determine it.
func missingName(before []string, at, after string) string {
	word := func(n int) string { // the n-th word before the name
		if n > len(before) {
			return ""
		}
		return before[len(before)-n]
	}
	none := func(what, name string) string { return fmt.Sprintf("there is no %s %q", what, name) }
	objects := []string{"rule", "chain", "set", "map", "element", "table", "counter", "quota", "limit", "flowtable"}
	switch {
	case strings.HasPrefix(at, "@") && (word(1) == "vmap" || word(1) == "map"):
		return none("map", at[1:])
	case strings.HasPrefix(at, "@"):
		return none("set", at[1:])
	case word(1) == "jump", word(1) == "goto":
		return none("chain", at)
	case word(1) == "name":
		return none(word(2), at)
	case word(1) == "secmark":
		return fmt.Sprintf("no security module, such as SELinux, is there that knows the context of %q", at)
	case word(1) == "table" && word(2) == "delete", word(2) == "table" && word(3) == "delete":
		return fmt.Sprintf("%s, but %q before it would make one", none("table", at), strings.Join(append(slices.Clone(before[slices.Index(before, "table"):]), at), " "))
	case word(1) == "set" && word(3) == "ct":
		return none("ct "+word(2), at)
	case slices.Contains(nftFamilies, word(1)) && slices.Contains(objects, word(2)), slices.Contains(objects, word(1)) && word(2) == "add":
		return none("table", at)
	case slices.Contains(nftFamilies, word(2)) && word(3) == "rule":
		return none("chain", at)
	case slices.Contains(nftFamilies, word(2)) && word(3) == "element":
		return none("set or map", at)
	}
	if m := nftJump.FindStringSubmatch(after); m != nil {
		return none("chain", m[1])
	}
	return ""
}

// helper explains why the kernel does not know the helper of the ct helper object declared at the error.
func (c nftComplaint) helper(before []string, at string) (why, module string, ok bool) {
	if n := len(before); n < 2 || before[n-1] != "helper" || before[n-2] != "ct" {
		return "", "", false
	}
	m := nftHelper.FindStringSubmatch(c.behind())
	if m == nil {
		return "", "", false
	}
	modules, err := HelperModules(m[1], map[string]nf.Proto{"tcp": nf.TCP, "udp": nf.UDP}[m[2]], 0)
	if err != nil {
		return fmt.Sprintf("helper %q: %v", m[1], err), "", true
	}
	module, _, _ = strings.Cut(modules, " ")
	return lacks(module), module, true
}

// nftModule is a kernel module that a statement or expression of nft needs. If the kernel also rejects the probe, the
// module is missing.
type nftModule struct {
	name  string
	word  *regexp.Regexp // the statement or expression
	probe string         // a chain's hook and a rule that every kernel with the module accepts, or a flowtable
}

var nftModules = []nftModule{
	{"nft_queue", regexp.MustCompile(`\bqueue\b`), "hook input priority 0; queue num 0"},
	{"nft_flow_offload", regexp.MustCompile(`\bflow (?:add|offload)\b|\bflowtable\b`), "flowtable f { hook ingress priority 0; devices = { lo }; }"},
	{"nft_tproxy", regexp.MustCompile(`\btproxy\b`), "hook prerouting priority 0; meta l4proto tcp tproxy to :1"},
	{"nft_socket", regexp.MustCompile(`\bsocket\b`), "hook prerouting priority 0; socket transparent 1"},
	{"nft_osf", regexp.MustCompile(`\bosf\b`), "hook input priority 0; osf name \"unknown\""},
	{"nft_xfrm", regexp.MustCompile(`\bipsec\b`), "hook input priority 0; ipsec in reqid 1"},
	{"nft_fib_ipv4", regexp.MustCompile(`\bfib\b`), "hook prerouting priority 0; fib daddr type local"},
	{"nft_dup_ipv4", regexp.MustCompile(`\bdup\b`), "hook prerouting priority 0; dup to 127.0.0.1"},
	{"nft_connlimit", regexp.MustCompile(`\bct count\b`), "hook input priority 0; ct count over 3"},
	{"nft_ct", regexp.MustCompile(`\b(?:ct|notrack)\b`), "hook prerouting priority 0; ct mark 1"},
	{"nft_limit", regexp.MustCompile(`\blimit\b`), "hook input priority 0; limit rate 3/second"},
	{"nft_quota", regexp.MustCompile(`\bquota\b`), "hook input priority 0; quota over 3 bytes"},
	{"nft_numgen", regexp.MustCompile(`\bnumgen\b`), "hook input priority 0; numgen inc mod 2 0"},
	{"nft_hash", regexp.MustCompile(`\b(?:jhash|symhash)\b`), "hook input priority 0; jhash ip saddr mod 2 0"},
	{"nft_synproxy", regexp.MustCompile(`\bsynproxy\b`), "hook input priority 0; synproxy mss 1460"},
	{"nft_log", regexp.MustCompile(`\blog\b`), "hook input priority 0; log group 1"},
	{"nft_reject_ipv4", regexp.MustCompile(`\breject\b`), "hook input priority 0; reject"},
	{"nft_masq", regexp.MustCompile(`\bmasquerade\b`), "nat hook postrouting priority 100; masquerade"},
	{"nft_redir", regexp.MustCompile(`\bredirect\b`), "nat hook prerouting priority -100; redirect"},
	{"nft_nat", regexp.MustCompile(`\b[ds]nat\b`), "nat hook prerouting priority -100; dnat to 127.0.0.1"},
}

// nftUserWords matches names chosen by the user, which may look like statements.
var nftUserWords = regexp.MustCompile(`"[^"]*"|@[\w./-]+|\b(?:jump|goto|name) +[\w./-]+|#.*`)

// missingModule returns the missing module that a line needs, or "". known reports whether the line needs any of
// nftModules.
func (t nftTry) missingModule(line string) (known bool, module string) {
	line = nftUserWords.ReplaceAllString(line, "")
	for _, m := range nftModules {
		if !m.word.MatchString(line) {
			continue
		}
		known = true
		output, err := t.run(m.text())
		if err != nil && (strings.Contains(output, noEntry) || strings.Contains(output, "not supported")) {
			return true, m.name
		}
	}
	return known, ""
}

// text returns an nft text that fails only if the module is missing.
func (m nftModule) text() string {
	body := m.probe
	switch {
	case strings.HasPrefix(body, "hook"):
		body = "chain c { type filter " + body + "; }"
	case strings.HasPrefix(body, "nat"):
		body = "chain c { type " + body + "; }"
	}
	return fmt.Sprintf("table ip %s_probe {\n%s\n}\n", ours.Table, body)
}

// kernelHelper describes a conntrack helper of the kernel.
type kernelHelper struct {
	protos  []nf.Proto // the protocols that it supports
	ipv4    bool       // only IPv4 is supported
	modules string     // its modules, separated by blanks
}

// kernelHelpers has the kernel's helpers by their registered names (net/netfilter/nf_conntrack_*.c,
// nf_conntrack_helper_register). Programs may register others from userspace (nfnetlink_cthelper).
var kernelHelpers = map[string]kernelHelper{
	"amanda":     {[]nf.Proto{nf.UDP}, false, "nf_conntrack_amanda nf_nat_amanda"},
	"ftp":        {[]nf.Proto{nf.TCP}, false, "nf_conntrack_ftp nf_nat_ftp"},
	"irc":        {[]nf.Proto{nf.TCP}, true, "nf_conntrack_irc nf_nat_irc"},
	"netbios-ns": {[]nf.Proto{nf.UDP}, true, "nf_conntrack_netbios_ns"},
	"pptp":       {[]nf.Proto{nf.TCP}, true, "nf_conntrack_pptp nf_nat_pptp"},
	"Q.931":      {[]nf.Proto{nf.TCP}, false, "nf_conntrack_h323 nf_nat_h323"},
	"RAS":        {[]nf.Proto{nf.UDP}, false, "nf_conntrack_h323 nf_nat_h323"},
	"sane":       {[]nf.Proto{nf.TCP}, false, "nf_conntrack_sane"},
	"sip":        {[]nf.Proto{nf.TCP, nf.UDP}, false, "nf_conntrack_sip nf_nat_sip"},
	"snmp":       {[]nf.Proto{nf.UDP}, true, "nf_conntrack_snmp"},
	"snmp_trap":  {[]nf.Proto{nf.UDP}, true, "nf_nat_snmp_basic"},
	"tftp":       {[]nf.Proto{nf.UDP}, false, "nf_conntrack_tftp nf_nat_tftp"},
}

// HelperModules returns the modules of a conntrack helper, separated by blanks, or an error if no kernel has such a
// helper. The zero family means both.
func HelperModules(name string, proto nf.Proto, family nf.Family) (string, error) {
	k, ok := kernelHelpers[name]
	switch {
	case !ok:
		names := slices.SortedFunc(maps.Keys(kernelHelpers), func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
		return "", fmt.Errorf("neither the kernel nor a program has registered a helper of that name: want one of %s", strings.Join(names, ", "))
	case !slices.Contains(k.protos, proto):
		return "", fmt.Errorf("it supports %v, not %v", k.protos[0], proto)
	case k.ipv4 && family == nf.IPv6:
		return "", errors.New("it supports only IPv4")
	}
	return k.modules, nil
}

// RewriterMissing returns the module without which a helper does not rewrite what it reads where NAT translates, such as the address
// of FTP's PORT, if modules, the text of /proc/modules, shows that it is not loaded. Rules load a helper, but not that module. A
// kernel that has the helper built in tells nothing.
func RewriterMissing(helper, modules string) string {
	parts := strings.Fields(kernelHelpers[helper].modules)
	if len(parts) < 2 {
		return ""
	}
	if !IsLoaded(modules, parts[0]) || IsLoaded(modules, parts[1]) {
		return ""
	}
	return parts[1]
}

// IsLoaded reports whether modules, the text of /proc/modules, has a module.
func IsLoaded(modules, name string) bool { return strings.Contains("\n"+modules, "\n"+name+" ") }

// addProblem appends p, unless problems has one for the same line.
func addProblem(problems []nf.RuleProblem, p nf.RuleProblem) []nf.RuleProblem {
	if slices.ContainsFunc(problems, func(q nf.RuleProblem) bool { return q.Line == p.Line }) {
		return problems
	}
	return append(problems, p)
}

// onlyModules returns an UnsupportedError if all problems are missing modules, or nil.
func onlyModules(problems []nf.RuleProblem) error {
	var names []string
	for _, p := range problems {
		if p.Module == "" {
			return nil
		}
		if !slices.Contains(names, p.Module) {
			names = append(names, p.Module)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return &nf.UnsupportedError{
		Need: names[0],
		Hint: fmt.Sprintf("sudo modprobe -a %s, or another kernel", strings.Join(names, " ")),
	}
}

func lacks(module string) string { return "the kernel lacks the module " + module }
