package nf

import (
	"fmt"
	"strings"
)

// ParseError says where a line is not that of an entry.
type ParseError struct {
	Line   int    // from 1
	Column int    // of the word that is wrong, in bytes from 1; behind the last one where something is missing
	Word   string // the word; empty where something is missing
	What   string // what is wrong with it
}

// Error says where and what: `line 2, column 5: "SYN_SNT" is no state of TCP`.
func (e *ParseError) Error() string {
	s := fmt.Sprintf("line %d, column %d: ", e.Line, e.Column)
	if e.Word != "" {
		s += fmt.Sprintf("%q ", e.Word)
	}
	return s + e.What
}

// ParseEntry reads an entry from one line: the form that Entry.String prints, that of conntrack -L, with or without
// -o extended, id, ktimestamp and labels, or that of /proc/net/nf_conntrack. The error is a *ParseError.
//
// What these forms do not tell is as an entry in the table has it: Status has Confirmed, and SeenReply unless the line
// says [UNREPLIED]. So what Entry.String prints of the result is the canonical form of the line, whichever it was.
// Labels are numbers, as without a connlabel.conf; the time of [start=…] is local, as conntrack prints it.
func ParseEntry(line string) (Entry, error) {
	return parseEntry(1, strings.TrimSuffix(line, "\n"))
}

// ParseEntries reads the entries of a text, one a line. Empty lines, comments that begin with a "#" and the line of conntrack
// that counts what was shown are passed over. The error is a *ParseError for the first line that is wrong.
func ParseEntries(text string) ([]Entry, error) {
	var entries []Entry
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\r\n")
		line = uncommented(line)
		if trimmed := strings.TrimSpace(line); trimmed == "" || strings.HasPrefix(trimmed, "conntrack v") {
			continue
		}
		e, err := parseEntry(n, line)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// uncommented cuts a line where a comment begins: at a "#" that no word has before it.
func uncommented(line string) string {
	for i := range len(line) {
		if line[i] == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') {
			return line[:i]
		}
	}
	return line
}

func parseEntry(line int, s string) (Entry, error) {
	p := entryParser{words: words{line: line, rest: s}}
	p.next()
	p.head()
	for p.err == nil && p.word != "" {
		p.part()
		p.next()
	}
	p.finish()
	if p.err != nil {
		return Entry{}, p.err
	}
	return p.e, nil
}
