package ruleset

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// linkUse is the name of a link in a text of rules.
type linkUse struct {
	name string
	line int
}

// missingLinks returns a problem for each name that is neither among those that are there nor allowed to be missing.
func missingLinks(uses []linkUse, there, mayLack []string, textOf func(line int) string) []nf.RuleProblem {
	var out []nf.RuleProblem
	for _, u := range uses {
		if u.name == "" || strings.HasSuffix(u.name, "+") || strings.HasSuffix(u.name, "*") ||
			slices.Contains(there, u.name) || slices.ContainsFunc(mayLack, u.matches) {
			continue
		}
		p := nf.RuleProblem{Line: u.line, Text: textOf(u.line), Link: u.name, Why: noLink(u.name, there) + " (MissingLinks allows it)"}
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// matches reports whether a pattern of path.Match means the link. In a name a slash is nothing special: "/never/" is what rules
// name that are to match no packet, since no link can have it (net/core/dev.c, dev_valid_name). Nor can one have a colon.
func (u linkUse) matches(pattern string) bool {
	ok, err := path.Match(strings.ReplaceAll(pattern, "/", ":"), strings.ReplaceAll(u.name, "/", ":"))
	return ok && err == nil
}

// noLink says which links there are instead; the far ends of veth are ours.
func noLink(name string, there []string) string {
	there = slices.DeleteFunc(slices.Clone(there), func(n string) bool { return strings.HasPrefix(n, ours.FarPrefix) })
	return fmt.Sprintf("there is no link %q, only %s", name, strings.Join(there, ", "))
}

// iptablesLinks returns the links that the rules of an iptables-save text, or single commands, name.
func iptablesLinks(lines []string) []linkUse {
	var uses []linkUse
	for i, l := range lines {
		if strings.HasPrefix(strings.TrimSpace(l), "#") {
			continue
		}
		args, err := splitArguments(l)
		if err != nil {
			continue // the program says it better
		}
		for j, a := range args[:max(0, len(args)-1)] {
			switch a {
			case "-i", "--in-interface", "-o", "--out-interface", "--physdev-in", "--physdev-out":
				name := args[j+1]
				if name == "!" && j+2 < len(args) { // the old way to negate
					name = args[j+2]
				}
				uses = append(uses, linkUse{name, i + 1})
			}
		}
	}
	return uses
}

// nftLinks returns the links that an nft text names by iifname and oifname, by the device of a chain or a flowtable, in an
// anonymous set, in the elements of a named one or by way of a define. Those behind iif and oif, nft itself looks for.
func nftLinks(text string) []linkUse {
	n := nftNamed{words: nftWords(text), defines: map[string][]nftWord{}, sets: map[string]int{}}
	for i := range n.words {
		n.at(i)
	}
	return n.uses
}

// nftNamed collects the links of an nft text.
type nftNamed struct {
	words   []nftWord
	defines map[string][]nftWord
	sets    map[string]int // which part of a set's elements is a link, from 0; the current one is ""
	uses    []linkUse
}

// word returns the i-th word's text, or "" if it is quoted or there is none.
func (n *nftNamed) word(i int) string {
	if i < 0 || i >= len(n.words) || n.words[i].quoted {
		return ""
	}
	return n.words[i].text
}

// at looks at the i-th word.
func (n *nftNamed) at(i int) {
	switch n.word(i) {
	case "define":
		if n.word(i+2) == "=" {
			n.defines["$"+n.words[i+1].text] = valueOf(n.words[i+3:])
		}
	case "set", "map":
		if n.word(i+2) == "{" {
			delete(n.sets, "")
			if part := n.linkPart(i + 3); part >= 0 {
				n.sets[""], n.sets[n.word(i+1)] = part, part
			}
		}
	case "elements":
		if part, ok := n.sets[""]; ok && n.word(i+1) == "=" {
			n.use(i, n.words[i+2:], part)
		}
	case "element":
		for j := i + 2; j <= i+3; j++ { // add element [family] table set { … }
			if part, ok := n.sets[n.word(j)]; ok && n.word(j) != "" && n.word(j+1) == "{" {
				n.use(i, n.words[j+1:], part)
			}
		}
	case "device":
		n.use(i, n.words[i+1:], 0)
	case "devices":
		if n.word(i+1) == "=" {
			n.use(i, n.words[i+2:], 0)
		}
	case "iifname", "oifname":
		n.compared(i)
	}
}

// linkPart returns which part of the elements of a set is a link, or -1: its block begins with the i-th word.
func (n *nftNamed) linkPart(i int) int {
	for depth := 1; depth > 0 && i < len(n.words); i++ {
		switch n.word(i) {
		case "{":
			depth++
		case "}":
			depth--
		case "type", "typeof":
			part, line := 0, n.words[i].line
			for i++; i < len(n.words) && n.words[i].line == line; i++ {
				switch n.word(i) {
				case "ifname", "iifname", "oifname":
					return part
				case ".":
					part++
				case ";", ":", "}":
					return -1
				}
			}
			return -1
		}
	}
	return -1
}

// compared looks at what the iifname or oifname at i is compared with, alone or as a part of a concatenation.
func (n *nftNamed) compared(i int) {
	if n.word(i-1) == "typeof" || n.word(i-1) == "meta" && n.word(i-2) == "typeof" {
		return
	}
	part := 0
	for j := i - 1; n.dotBefore(&j); {
		part++
	}
	j := i + 1
	for n.word(j) == "." { // a part is a word or two, such as ip saddr
		for j++; j < len(n.words) && j < i+20 && !slices.Contains([]string{".", "{", "vmap", "map", "==", "!=", ";"}, n.word(j)); {
			j++
		}
	}
	for j < len(n.words) && operators[n.word(j)] {
		j++
	}
	n.use(i, n.words[min(j, len(n.words)):], part)
}

// dotBefore reports whether the part of a concatenation that ends at j is joined to another by a dot, and moves j there.
func (n *nftNamed) dotBefore(j *int) bool {
	for k := *j; k >= max(0, *j-2); k-- {
		switch w := n.word(k); {
		case w == ".":
			*j = k - 1
			return true
		case w == "", strings.HasPrefix(w, "@"), strings.ContainsAny(w, "{};"), n.words[k].line != n.words[*j].line:
			return false
		}
	}
	return false
}

// use notes the links of the value that some words begin with; the word at i says what for.
func (n *nftNamed) use(i int, value []nftWord, part int) {
	line := n.words[i].line
	for _, name := range namesIn(valueOf(value), part, n.defines) {
		n.uses = append(n.uses, linkUse{name.text, max(line, name.line)})
	}
}

// operators may stand between iifname and what it is compared with.
var operators = map[string]bool{"==": true, "!=": true, "!": true, "=": true, "vmap": true, "map": true}

// valueOf returns the words of the value that some words begin with: one, or what is in braces.
func valueOf(words []nftWord) []nftWord {
	if len(words) == 0 {
		return nil
	}
	if words[0].quoted || words[0].text != "{" {
		return words[:1]
	}
	for i, w := range words {
		if !w.quoted && w.text == "}" {
			return words[:i+1]
		}
	}
	return nil
}

// namesIn returns the names of links in a value: the first word of the wanted part of each element.
func namesIn(value []nftWord, want int, defines map[string][]nftWord) []nftWord {
	var names []nftWord
	part, first := 0, true
	for _, w := range value {
		is := first && part == want
		first = false
		switch {
		case w.quoted:
			if is {
				names = append(names, w)
			}
		case w.text == "{", w.text == ",":
			part, first = 0, true
		case w.text == ".":
			part++
			first = true
		case w.text == "}":
		case is && strings.HasPrefix(w.text, "$"):
			for _, name := range namesIn(defines[w.text], 0, nil) {
				name.line = w.line // where it is used
				names = append(names, name)
			}
		case is && !strings.HasPrefix(w.text, "@") && w.text != "map" && w.text != ".":
			names = append(names, w)
		}
	}
	return names
}

// nftWord is a word of an nft text and where it stands.
type nftWord struct {
	text   string
	line   int
	quoted bool
}

// nftWords splits an nft text into words: quoted strings, braces, commas, colons and what stands between blanks. Comments
// are left out.
func nftWords(text string) []nftWord {
	const alone = "{},;:="
	var words []nftWord
	line := 1
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '\n':
			line++
			i++
		case c == ' ' || c == '\t' || c == '\r' || c == '\\':
			i++
		case c == '#':
			for i < len(text) && text[i] != '\n' {
				i++
			}
		case c == '"':
			end := strings.IndexByte(text[i+1:], '"')
			if end < 0 {
				return words
			}
			words = append(words, nftWord{text[i+1 : i+1+end], line, true})
			line += strings.Count(text[i:i+end+2], "\n")
			i += end + 2
		case strings.IndexByte(alone, c) >= 0:
			words = append(words, nftWord{string(c), line, false})
			i++
		default:
			end := i
			for end < len(text) && strings.IndexByte(" \t\r\n#\""+alone, text[end]) < 0 {
				end++
			}
			words = append(words, nftWord{text[i:end], line, false})
			i = end
		}
	}
	return words
}
