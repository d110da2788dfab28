package netnsenv

import (
	"slices"
	"strings"
)

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
