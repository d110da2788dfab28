package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ctexp/go-ctexp/internal/terminal"
)

// printer prints results as they come: a table for people, or one object a line.
type printer struct {
	opts   options
	out    io.Writer
	total  int
	status *statusLine // nil: nobody looks
	first  bool
}

func newPrinter(opts options, total int, stdout, stderr io.Writer) *printer {
	p := &printer{opts: opts, out: stdout, total: total, first: true}
	if isTerminal(stderr) {
		p.status = &statusLine{w: stderr}
	}
	return p
}

// isTerminal reports whether w is a device that somebody may look at.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

// progress shows what is being asked.
func (p *printer) progress(asking []string, done int) {
	p.status.show(fmt.Sprintf("[%d/%d] %s", done, p.total, strings.Join(asking, ", ")))
}

func (p *printer) print(r result) {
	p.status.show("")
	if p.opts.json {
		encoder := json.NewEncoder(terminal.Data(p.out))
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(r); err != nil {
			panic("tales: " + err.Error()) // results are plain values
		}
		return
	}
	if p.first {
		fmt.Fprintf(p.out, "Conntrack tales, asked on Linux %s: rules by %s, %d packets, %d entries free in a full table\n",
			r.Kernel, r.Backend, p.opts.size.packets, p.opts.size.free)
		p.first = false
	}
	fmt.Fprintf(terminal.Data(p.out), "\n%s", human(p.out, r))
}

// summary ends the table.
func (p *printer) summary(results []result, took time.Duration) {
	p.status.show("")
	if !p.opts.json {
		fmt.Fprintf(p.out, "\n%s in %.1f s\n", sum(results), took.Seconds())
	}
}

// sum counts the verdicts: "28 claims: 19 confirmed, 2 changed, 0 refuted".
func sum(results []result) string {
	count := map[verdict]int{}
	failed := 0
	for _, r := range results {
		if r.Error != "" {
			failed++
		}
		count[r.Verdict]++
	}
	var parts []string
	for _, v := range verdicts {
		if count[v] > 0 || v == refuted {
			parts = append(parts, fmt.Sprintf("%d %s", count[v], v))
		}
	}
	if failed > 0 {
		parts = append(parts, fmt.Sprintf("%d without an answer", failed))
	}
	claims := "claims"
	if len(results) == 1 {
		claims = "claim"
	}
	return fmt.Sprintf("%d %s: %s", len(results), claims, strings.Join(parts, ", "))
}

// The columns of the table: the id, the verdict, and the claim; what was seen and why hangs below.
const (
	lineWidth    = 100 // in a file or a pipe
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
//
// In a terminal the lines have its width, and the verdict has a colour.
func human(w io.Writer, r result) string {
	var b strings.Builder
	width := terminal.Columns(w, lineWidth)
	word := string(r.Verdict)
	if r.Error != "" {
		word = "no answer"
	}
	head, padded := fmt.Sprintf("%-*s ", idWidth, r.ID), fmt.Sprintf("%-*s ", verdictWidth, word)
	b.WriteString(head + terminal.Styled(w, styleOf(r), word) + padded[len(word):])
	hang(&b, utf8.RuneCountInString(head+padded), width, r.Claim)
	for _, line := range []struct{ label, text string }{
		{"article", quoted(r.Article)}, {"here", r.Got.String()}, {"why", r.Why}, {"error", r.Error},
	} {
		if line.text != "" {
			label := fmt.Sprintf("%*s%-*s", labelIndent, "", labelWidth, line.label)
			b.WriteString(terminal.Styled(w, terminal.Dim, label))
			hang(&b, len(label), width, line.text)
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

// styleOf is how a verdict looks: green if it is what the article claims, red if it must not be.
func styleOf(r result) terminal.Style {
	switch {
	case r.Error != "" || r.Verdict == refuted:
		return terminal.Bad
	case r.Verdict == confirmed:
		return terminal.Good
	case r.Verdict == unsupported:
		return terminal.Dim
	}
	return terminal.Plain
}

// hang writes text behind what is indent columns wide, wrapped at the width of a line but not at a noBreak; the lines that follow
// are indented as far.
func hang(b *strings.Builder, indent, width int, text string) {
	at := indent
	for i, word := range strings.Split(text, " ") {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case at+1+n > width:
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

// fields are what was measured or seen, in the order in which one reads them. In JSON they are one flat object.
type fields []field

type field struct {
	name  string
	value any // int, bool, string or []int
}

// get returns a field's value, nil if there is none.
func (f fields) get(name string) any {
	for _, x := range f {
		if x.name == name {
			return x.value
		}
	}
	return nil
}

// number returns a field that is a number, 0 if there is none.
func (f fields) number(name string) int {
	n, _ := f.get(name).(int)
	return n
}

// String prints the fields as text: "captured 10, raw 10, mangle 7". The space between a name and its value is one at
// which lines do not break.
func (f fields) String() string {
	var s []string
	for _, x := range f {
		s = append(s, x.name+noBreak+show(x.value))
	}
	return strings.Join(s, ", ")
}

const noBreak = "\u00a0"

func show(v any) string {
	if n, ok := v.([]int); ok {
		return strings.ReplaceAll(strings.Trim(fmt.Sprint(n), "[]"), " ", "/")
	}
	return fmt.Sprint(v)
}

// MarshalJSON writes an object whose members have the order of the fields.
func (f fields) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	sep := byte('{')
	for _, x := range f {
		name, err := json.Marshal(x.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(x.value)
		if err != nil {
			return nil, err
		}
		b.WriteByte(sep)
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
		sep = ','
	}
	if len(f) == 0 {
		b.WriteByte(sep)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// UnmarshalJSON reads what MarshalJSON wrote, the order included.
func (f *fields) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if _, err := d.Token(); err != nil { // the brace
		return err
	}
	*f = nil
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return err
		}
		value, err := scalar(raw)
		if err != nil {
			return err
		}
		*f = append(*f, field{fmt.Sprint(name), value})
	}
	return nil
}

// scalar reads one of the types that a field's value may have.
func scalar(raw json.RawMessage) (any, error) {
	var n int
	if json.Unmarshal(raw, &n) == nil {
		return n, nil
	}
	var list []int
	if json.Unmarshal(raw, &list) == nil {
		return list, nil
	}
	var other any
	err := json.Unmarshal(raw, &other)
	return other, err
}
