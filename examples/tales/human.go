package main

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// The columns of the table: the id, the verdict, and the claim; what was seen and why hangs below.
const (
	lineWidth    = 100
	idWidth      = 21
	verdictWidth = 12
	labelIndent  = 4
	labelWidth   = 9
)

// human is a row of the table:
//
//	table-full            confirmed    with 7 entries free, 3 of 10 SYNs vanish between raw and mangle
//	    article  captured 10, raw 10, mangle 7, dropped 3: "they were hard dropped"
//	    here     captured 10, raw 10, mangle 7, entries 7, dropped 3, evicted 0
//	    why      conntrack drops a packet that needs an entry and gets none
func human(r result) string {
	var b strings.Builder
	word := string(r.Verdict)
	if r.Error != "" {
		word = "no answer"
	}
	head := fmt.Sprintf("%-*s %-*s ", idWidth, r.ID, verdictWidth, word)
	hang(&b, head, r.Claim)
	for _, line := range []struct{ label, text string }{
		{"article", quoted(r.Article)}, {"here", r.Got.String()}, {"why", r.Why}, {"error", r.Error},
	} {
		if line.text != "" {
			hang(&b, fmt.Sprintf("%*s%-*s", labelIndent, "", labelWidth, line.label), line.text)
		}
	}
	return b.String()
}

// quoted prints what the author saw: his numbers, then his words.
func quoted(article fields) string {
	var numbers fields
	for _, f := range article {
		if f.name != says {
			numbers = append(numbers, f)
		}
	}
	words, ok := article.get(says).(string)
	switch {
	case !ok:
		return numbers.String()
	case len(numbers) == 0:
		return fmt.Sprintf("“%s”", words)
	}
	return fmt.Sprintf("%v: “%s”", numbers, words)
}

// hang writes text behind head, wrapped at the width of a line but not at a noBreak; the lines that follow are indented
// as far as head is wide.
func hang(b *strings.Builder, head, text string) {
	indent := utf8.RuneCountInString(head)
	at := indent
	b.WriteString(head)
	for i, word := range strings.Split(text, " ") {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case at+1+n > lineWidth:
			fmt.Fprintf(b, "\n%*s", indent, "")
			at = indent
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(strings.ReplaceAll(word, noBreak, " "))
		at += n
	}
	b.WriteByte('\n')
}
