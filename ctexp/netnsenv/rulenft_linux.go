package netnsenv

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ours"
)

var (
	nftPlace  = regexp.MustCompile(`(?m)^[^:\n]+:(\d+):(\d+)-(\d+): Error: (.*)$`)
	nftAdvice = regexp.MustCompile(`; did you mean .*$`)
	nftJump   = regexp.MustCompile(`^\s*:\s*(?:jump|goto)\s+([\w.-]+)`)
	nftFlow   = regexp.MustCompile(`\bflow (?:add|offload) @([\w.-]+)`)
	nftHelper = regexp.MustCompile(`(?s)^[^}]*?type\s+"?([\w.-]+)"?\s+protocol\s+(tcp|udp)`)
)

// nftTry tries texts for nft without loading them.
type nftTry struct {
	run   func(text string) (string, error) // nft -c
	links []string                          // that are there
}

// problems is a trial. It reads what nft complains about: several lines at once.
func (t nftTry) problems(text string) ([]RuleProblem, string, bool) {
	said, err := t.run(text)
	if err == nil {
		return nil, "", true
	}
	var out []RuleProblem
	for _, m := range nftPlace.FindAllStringSubmatch(said, -1) {
		n, _ := strconv.Atoi(m[1]) // they are all digits
		from, _ := strconv.Atoi(m[2])
		to, _ := strconv.Atoi(m[3])
		p := nftComplaint{text: text, line: n, from: from, to: to, said: strings.TrimPrefix(m[4], "Could not process rule: ")}.problem(t)
		if !slices.ContainsFunc(out, func(q RuleProblem) bool { return q.Line == p.Line }) {
			out = append(out, p)
		}
	}
	return out, said, false
}

// nftComplaint is what nft says of a place in a text, in columns of a line, both from 1.
type nftComplaint struct {
	text           string
	line, from, to int
	said           string
}

// problem says it with the name that nft has only pointed at, and with the module that is missing.
func (c nftComplaint) problem(t nftTry) RuleProblem {
	p := RuleProblem{Line: c.line, Why: c.said}
	if a := nftAdvice.FindString(c.said); strings.Contains(a, ours.Table) {
		p.Why = strings.TrimSuffix(c.said, a) // that is nothing of the user's
	}
	l := line(c.text, c.line)
	if c.from < 1 || c.to < c.from || c.to > len(l) {
		return p
	}
	before, at, after := strings.FieldsFunc(l[:c.from-1], isNftSpace), strings.Trim(l[c.from-1:c.to], `"`), l[c.to:]
	switch {
	case strings.HasPrefix(p.Why, "Interface does not exist"):
		p.Why = noLink(at, t.links) + " (iif wants it to be there, iifname does not)"
	case strings.HasPrefix(p.Why, "No such file or directory"):
		if why := missingName(before, at, after); why != "" {
			p.Why = why + strings.TrimPrefix(p.Why, "No such file or directory")
			return p
		}
		if why, module, ok := c.helper(before, at); ok {
			p.Why, p.Module = why, module
			return p
		}
		fallthrough
	case strings.HasPrefix(p.Why, "Operation not supported"):
		known, module := t.lacks(l)
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

func isNftSpace(r rune) bool { return strings.ContainsRune(" \t{};,", r) }

// missingName says what there is not, by the words before a name and what follows it; "" if they do not tell.
func missingName(before []string, at, after string) string {
	word := func(n int) string { // counted from the name
		if n > len(before) {
			return ""
		}
		return before[len(before)-n]
	}
	none := func(what, name string) string { return fmt.Sprintf("there is no %s %q", what, name) }
	families := []string{"ip", "ip6", "inet", "arp", "bridge", "netdev"}
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
	case word(1) == "set" && word(3) == "ct":
		return none("ct "+word(2), at)
	case slices.Contains(families, word(1)) && slices.Contains(objects, word(2)), slices.Contains(objects, word(1)) && word(2) == "add":
		return none("table", at)
	case slices.Contains(families, word(2)) && word(3) == "rule":
		return none("chain", at)
	case slices.Contains(families, word(2)) && word(3) == "element":
		return none("set or map", at)
	}
	if m := nftJump.FindStringSubmatch(after); m != nil {
		return none("chain", m[1])
	}
	return ""
}

// helper says what it means that the kernel does not know the helper of an object that is declared here.
func (c nftComplaint) helper(before []string, at string) (why, module string, ok bool) {
	if n := len(before); n < 2 || before[n-1] != "helper" || before[n-2] != "ct" {
		return "", "", false
	}
	rest := strings.Join(strings.Split(c.text, "\n")[c.line-1:], "\n")[c.to:]
	m := nftHelper.FindStringSubmatch(rest)
	if m == nil {
		return "", "", false
	}
	h := Helper{Name: m[1], Proto: map[string]nf.Proto{"tcp": nf.TCP, "udp": nf.UDP}[m[2]]}
	if k, known := kernelHelpers[h.Name]; known && slices.Contains(k.protos, h.Proto) {
		module, _, _ = strings.Cut(k.modules, " ")
		return lacks(module), module, true
	}
	return fmt.Sprintf("helper %q: %v", h.Name, h.unknown()), "", true
}
