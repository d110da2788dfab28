package ctexp

import (
	"io"
	"strings"

	"github.com/ctexp/go-ctexp/internal/ours"
	"github.com/ctexp/go-ctexp/internal/report"
)

// rulesetText is the user's ruleset, or some of it, with its counters, in the words of the program that lists it.
type rulesetText struct {
	file string // report.NameNFT or report.NameIPTables
	text string
}

// files makes a file of each kind of text.
func rulesetFiles(texts []rulesetText) []report.File {
	var files []report.File
	for _, name := range []string{report.NameNFT, report.NameIPTables} {
		var all strings.Builder
		for _, t := range texts {
			if t.file == name {
				all.WriteString(t.text)
			}
		}
		if all.Len() > 0 {
			files = append(files, report.File{Name: name, Write: func(w io.Writer) error {
				_, err := io.WriteString(w, all.String())
				return err
			}})
		}
	}
	return files
}

// withoutOurs cuts our own tables out of what "nft list ruleset" prints, where a table begins in the first column, and ends
// there.
func withoutOurs(listing string) string {
	var b strings.Builder
	skip := false
	for line := range strings.Lines(listing) {
		words := strings.Fields(line)
		if len(words) > 2 && words[0] == "table" && words[2] == ours.Table && strings.HasPrefix(line, "table") {
			skip = true
		}
		if !skip {
			b.WriteString(line)
		}
		if strings.HasPrefix(line, "}") {
			skip = false
		}
	}
	return b.String()
}
