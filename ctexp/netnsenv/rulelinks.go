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
