package observe

import (
	"strconv"
	"strings"
)

// parseIPTables fills line from one line of iptables -v -S:
//
//	-P PREROUTING ACCEPT -c 10 400
//	-A PREROUTING -p tcp -c 7 280 -j MARK --set-xmark 0x1/0xffffffff
//
// ok is false for a line that is no rule and no policy of a base chain, such as "-N http".
func parseIPTables(line Rule, text string) (r Rule, ok bool) {
	words := splitWords(text)
	if len(words) < 2 {
		return r, false
	}
	r, r.Chain = line, words[1]
	switch words[0] {
	case "-A":
		r.Kind = KindRule
	case "-P":
		r.Kind = KindPolicy
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

// splitWords cuts text at its spaces but for those between double quotes, as iptables puts around a comment.
func splitWords(text string) []string {
	var words []string
	quoted, escaped, begin := false, false, -1
	for i := range len(text) {
		c := text[i]
		if c == ' ' && !quoted {
			if begin >= 0 {
				words = append(words, text[begin:i])
			}
			begin = -1
			continue
		}
		if begin < 0 {
			begin = i
		}
		switch {
		case escaped:
			escaped = false
		case c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		}
	}
	if begin >= 0 {
		words = append(words, text[begin:])
	}
	return words
}
