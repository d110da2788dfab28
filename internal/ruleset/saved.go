package ruleset

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// savedLine is a line of iptables-save: a table, a chain, a rule with or without its counters, the end of a table, a comment.
var savedLine = regexp.MustCompile(`^\s*($|#|\*\S|:\S|(\[\d+:\d+\]\s*)?-|COMMIT\b)`)

// notSaved returns the lines of a text that iptables-save has not written, such as prompts of a shell, and a second dump of a table,
// which would silently replace the first.
func notSaved(lines []string) (bad []nf.RuleProblem) {
	first := map[string]int{}
	for i, l := range lines {
		add := func(why string, args ...any) {
			bad = append(bad, nf.RuleProblem{Line: i + 1, Text: l, Why: fmt.Sprintf(why, args...)})
		}
		if !savedLine.MatchString(l) {
			add("is no line of iptables-save: cut it")
			continue
		}
		table := strings.TrimSpace(l)
		if !strings.HasPrefix(table, "*") {
			continue
		}
		if at := first[table]; at > 0 {
			add("a second dump of the table, which begins in line %d already: cut one of them, or load them as two texts", at)
			continue
		}
		first[table] = i + 1
	}
	return bad
}
