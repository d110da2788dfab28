package ruleset

import (
	"fmt"
	"iter"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// linkUse is the use of a link's name in a line of a text.
type linkUse struct {
	name string
	line int
}

// LinkNames returns the names of the links that the text names, each once and in its order: also wildcards, and those of iif and
// oif, which nft itself checks.
func (t Text) LinkNames() (names []string) {
	var uses []linkUse
	switch {
	case t.Commands != nil:
		uses = iptablesLinks(t.Commands)
	case t.Program == "nft":
		n := scanLinks(t.included(t.Text, maxIncludes))
		n.devices, n.indexes = true, true
		n.define(t.Define)
		for i := range n.words {
			n.visit(i)
		}
		uses = n.uses
	default:
		uses = iptablesLinks(strings.Split(t.Text, "\n"))
	}
	for _, u := range uses {
		if u.name != "" && !slices.Contains(names, u.name) {
			names = append(names, u.name)
		}
	}
	return names
}

// maxIncludes is how deep nft follows includes (nftables, src/scanner.l, MAX_INCLUDE_DEPTH).
const maxIncludes = 16

// included returns the words of a text with those of the files that it includes. Files that cannot be read are left out: nft
// reports them.
func (t Text) included(text string, depth int) []nftWord {
	words := nftWords(text)
	for i := 0; i+1 < len(words); i++ {
		if words[i].quoted || words[i].text != "include" || !words[i+1].quoted || depth == 0 {
			continue
		}
		name := words[i+1].text
		if !filepath.IsAbs(name) {
			name = filepath.Join(t.Folder, name)
		}
		files, _ := filepath.Glob(name) // a wrong pattern matches nothing
		var more []nftWord
		for _, f := range files {
			if text, err := os.ReadFile(f); err == nil {
				more = append(more, t.included(string(text), depth-1)...)
			}
		}
		words = slices.Replace(words, i, i+2, more...)
		i += len(more) - 1
	}
	return words
}

// missing returns a problem for each use of a link that neither exists nor is optional.
func (t Text) missing(uses []linkUse, existing []string) (out []nf.RuleProblem) {
	text := t.Text
	if t.Commands != nil {
		text = strings.Join(t.Commands, "\n")
	}
	for _, u := range uses {
		if u.name == "" || strings.HasSuffix(u.name, "+") || strings.HasSuffix(u.name, "*") ||
			slices.Contains(existing, u.name) || slices.ContainsFunc(t.Optional, u.matches) {
			continue
		}
		p := nf.RuleProblem{Line: u.line, Text: lineOf(text, u.line), Link: u.name, Why: noLink(u.name, existing) + " (MissingLinks allows it)"}
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// matches reports whether a pattern of path.Match matches the link. A slash is an ordinary character here: rules that
// must not match any packet use names such as "/never/", which no link can have (net/core/dev.c, dev_valid_name). No
// link can have a colon either.
func (u linkUse) matches(pattern string) bool {
	ok, err := path.Match(strings.ReplaceAll(pattern, "/", ":"), strings.ReplaceAll(u.name, "/", ":"))
	return ok && err == nil
}

// noLink describes a missing link and lists the existing ones, without the far ends of our veth links.
func noLink(name string, existing []string) string {
	existing = slices.DeleteFunc(slices.Clone(existing), func(n string) bool { return strings.HasPrefix(n, ours.FarPrefix) })
	return fmt.Sprintf("there is no link %q, only %s", name, strings.Join(existing, ", "))
}

// eachArguments yields the index and the arguments of each line of an iptables-save text, or of single commands. It leaves out
// comments, and lines that cannot be split, which the program reports.
func eachArguments(lines []string) iter.Seq2[int, []string] {
	return func(yield func(int, []string) bool) {
		for i, l := range lines {
			if strings.HasPrefix(strings.TrimSpace(l), "#") {
				continue
			}
			if args, err := splitArguments(l); err == nil && !yield(i, args) {
				return
			}
		}
	}
}

// iptablesLinks returns the links named in the lines of an iptables-save text, or in single commands.
func iptablesLinks(lines []string) []linkUse {
	var uses []linkUse
	for i, args := range eachArguments(lines) {
		for j, a := range args[:max(0, len(args)-1)] {
			switch a {
			case "-i", "--in-interface", "-o", "--out-interface", "--physdev-in", "--physdev-out":
				name := args[j+1]
				if name == "!" && j+2 < len(args) { // the old syntax of negation
					name = args[j+2]
				}
				uses = append(uses, linkUse{name, i + 1})
			}
		}
	}
	return uses
}

// nftLinks returns the links that an nft text names: by iifname and oifname, also with sets and defines, and by the
// devices of chains and flowtables. nft itself checks the links of iif and oif.
func nftLinks(text string) []linkUse {
	n := scanLinks(nftWords(text))
	n.devices = true
	for i := range n.words {
		n.visit(i)
	}
	return n.uses
}

// scanner collects what an nft text compares with some keys, such as the names of links.
type scanner struct {
	words   []nftWord
	keys    []string // such as iifname
	types   []string // the types of sets that have what is looked for, and what typeof has in their place
	equal   bool     // leave out what the key must not be
	defines map[string][]nftWord
	sets    map[string]int // for sets of the types: the index of the type in an element; the key "" is the current set
	devices bool           // also the devices of chains and flowtables
	indexes bool           // also the links of iif and oif
	uses    []linkUse
}

func scan(words []nftWord, keys, types []string) scanner {
	return scanner{words: words, keys: keys, types: append(types, keys...), defines: map[string][]nftWord{}, sets: map[string]int{}}
}

func scanLinks(words []nftWord) scanner {
	return scan(words, []string{"iifname", "oifname"}, []string{"ifname"})
}

// define defines the variables of nft -D.
func (n *scanner) define(all []string) {
	for _, d := range all {
		name, value, _ := strings.Cut(d, "=")
		n.defines["$"+name] = valueOf(nftWords(value))
	}
}

// word returns the text of the i-th word, or "" if it is quoted or does not exist.
func (n *scanner) word(i int) string {
	if i < 0 || i >= len(n.words) || n.words[i].quoted {
		return ""
	}
	return n.words[i].text
}

// visit handles the i-th word.
func (n *scanner) visit(i int) {
	switch word := n.word(i); word {
	case "define":
		if n.word(i+2) == "=" {
			n.defines["$"+n.words[i+1].text] = valueOf(n.words[i+3:])
		}
	case "set", "map":
		if n.word(i+2) == "{" {
			delete(n.sets, "")
			if part := n.part(i + 3); part >= 0 {
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
		if n.devices {
			n.use(i, n.words[i+1:], 0)
		}
	case "devices":
		if n.devices && n.word(i+1) == "=" {
			n.use(i, n.words[i+2:], 0)
		}
	case "iif", "oif":
		if n.indexes {
			n.compared(i)
		}
	case "to": // fwd to, dup to
		if n.indexes && (n.word(i-1) == "fwd" || n.word(i-1) == "dup") {
			n.use(i, n.words[i+1:], 0)
		}
	default:
		if slices.Contains(n.keys, word) {
			n.compared(i)
		}
	}
}

// part returns the index of what has one of the types in the elements of a set, or -1. The set's block begins with the i-th word.
func (n *scanner) part(i int) int {
	for depth := 1; depth > 0 && i < len(n.words); i++ {
		switch n.word(i) {
		case "{":
			depth++
		case "}":
			depth--
		case "type", "typeof":
			part, line := 0, n.words[i].line
			for i++; i < len(n.words) && n.words[i].line == line; i++ {
				switch word := n.word(i); word {
				case ".":
					part++
				case ";", ":", "}":
					return -1
				default:
					if slices.Contains(n.types, word) {
						return part
					}
				}
			}
			return -1
		}
	}
	return -1
}

// compared collects what the key at i is compared with, alone or as part of a concatenation.
func (n *scanner) compared(i int) {
	if n.word(i-1) == "typeof" || n.word(i-1) == "meta" && n.word(i-2) == "typeof" {
		return
	}
	part := 0
	for j := i - 1; n.dotBefore(&j); {
		part++
	}
	j := i + 1
	for n.word(j) == "." { // a part is one or two words, such as ip saddr
		for j++; j < len(n.words) && j < i+20 && !strings.HasPrefix(n.word(j), "@") && !slices.Contains([]string{".", "{", "vmap", "map", "==", "!=", ";"}, n.word(j)); {
			j++
		}
	}
	for j < len(n.words) && operators[n.word(j)] {
		if n.equal && strings.HasPrefix(n.word(j), "!") {
			return
		}
		j++
	}
	n.use(i, n.words[min(j, len(n.words)):], part)
}

// dotBefore reports whether a dot precedes the part of a concatenation that ends at j. If so, it moves j before the dot.
func (n *scanner) dotBefore(j *int) bool {
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

// use adds what is in the value at the start of some words. They belong to the keyword at i.
func (n *scanner) use(i int, value []nftWord, part int) {
	line := n.words[i].line
	for _, name := range namesIn(valueOf(value), part, n.defines) {
		n.uses = append(n.uses, linkUse{name.text, max(line, name.line)})
	}
}

// operators may precede the value that iifname is compared with.
var operators = map[string]bool{"==": true, "!=": true, "!": true, "=": true, "vmap": true, "map": true}

// valueOf returns the value at the start of some words: one word, or a block in braces.
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

// namesIn returns the names of links in a value: the first word of the part with index want of each element.
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
			others := maps.Clone(defines)
			delete(others, w.text) // a variable is not defined by itself
			for _, name := range namesIn(defines[w.text], 0, others) {
				name.line = w.line // the line of the use, not of the define
				names = append(names, name)
			}
		case is && !strings.HasPrefix(w.text, "@") && w.text != "map" && w.text != ".":
			names = append(names, w)
		}
	}
	return names
}

// nftWord is a word of an nft text.
type nftWord struct {
	text   string
	line   int
	quoted bool
}

// nftWords splits an nft text into words: quoted strings, punctuation, and text between blanks. It skips comments.
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
