package netnsenv

import "strings"

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

// nftLinks returns the links that an nft text names by iifname and oifname, directly, in an anonymous set or by way of a
// define. Those behind iif and oif, nft itself looks for.
func nftLinks(text string) []linkUse {
	words := nftWords(text)
	defines := map[string][]nftWord{}
	var uses []linkUse
	for i := 0; i < len(words); i++ {
		w := words[i]
		switch {
		case w.quoted:
		case w.text == "define" && i+3 < len(words) && words[i+2].text == "=":
			defines["$"+words[i+1].text] = valueOf(words[i+3:])
		case w.text == "iifname", w.text == "oifname":
			rest := words[i+1:]
			for len(rest) > 0 && !rest[0].quoted && operators[rest[0].text] {
				rest = rest[1:]
			}
			for _, name := range namesIn(valueOf(rest), defines) {
				uses = append(uses, linkUse{name.text, w.line + max(0, name.line-w.line)})
			}
		}
	}
	return uses
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

// namesIn returns the names of links in a value: the first word of each element.
func namesIn(value []nftWord, defines map[string][]nftWord) []nftWord {
	var names []nftWord
	first := true
	for _, w := range value {
		switch {
		case w.quoted:
			if first {
				names = append(names, w)
			}
			first = false
		case w.text == "{", w.text == ",":
			first = true
		case w.text == "}":
		case first && strings.HasPrefix(w.text, "$"):
			for _, name := range namesIn(defines[w.text], nil) {
				name.line = w.line // where it is used
				names = append(names, name)
			}
			first = false
		default:
			if first && !strings.HasPrefix(w.text, "@") && w.text != "." && w.text != "map" {
				names = append(names, w)
			}
			first = false
		}
	}
	return names
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
