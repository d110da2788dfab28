// Package terminal writes text for people who read it in a terminal: lines fit its width, words stay whole, and a few words have
// colours. What goes into a file or a pipe is left as it is, so that programs can read it.
package terminal

import (
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// Style is how a piece of a line looks.
type Style uint8

// The styles. There are no more, so that what is red is what to look at.
const (
	Plain Style = iota
	Good        // green: as expected
	Bad         // red: not as expected
	Dim         // details
)

// codes are the escape sequences of the styles (ECMA-48, SGR).
var codes = [...]string{Plain: "\x1b[0m", Good: "\x1b[32m", Bad: "\x1b[31m", Dim: "\x1b[2m"}

// Piece is a part of a line.
type Piece struct {
	Text  string
	Style Style
	Whole bool // it is not wrapped, so that it can be copied: a packet, an entry, a command; the terminal breaks what is too long
}

// Output returns a writer to f that wraps lines if f is a terminal, and else f itself. Colours are for terminals alone, and not
// if the environment has NO_COLOR (https://no-color.org) or no TERM that knows them.
func Output(f *os.File) io.Writer {
	if width := Width(f); width > 0 {
		return &writer{f, width, wanted(os.Getenv("NO_COLOR"), os.Getenv("TERM"))}
	}
	return f
}

// wanted reports whether colours are wanted.
func wanted(noColor, term string) bool { return noColor == "" && term != "" && term != "dumb" }

// Data returns the writer below one that wraps lines, for what must stay as it is, such as JSON.
func Data(w io.Writer) io.Writer {
	if wraps, ok := w.(*writer); ok {
		return wraps.to
	}
	return w
}

// Columns returns the width of a writer that Output has made, or otherwise if it is none of a terminal.
func Columns(w io.Writer, otherwise int) int {
	if wraps, ok := w.(*writer); ok {
		return wraps.width
	}
	return otherwise
}

// Styled returns a text in a style if w is a terminal with colours, else the text. It is for who lays lines out, and writes them to
// Data(w).
func Styled(w io.Writer, s Style, text string) string {
	if wraps, ok := w.(*writer); ok && wraps.colours && s != Plain && text != "" {
		return codes[s] + text + codes[Plain]
	}
	return text
}

// Print writes a line of pieces. The text of the last one may have several lines. What Write returned is its error.
func Print(w io.Writer, pieces ...Piece) error {
	wraps, ok := w.(*writer)
	if !ok {
		var b strings.Builder
		for _, p := range pieces {
			b.WriteString(p.Text)
		}
		b.WriteByte('\n')
		_, err := io.WriteString(w, b.String())
		return err
	}
	var out strings.Builder
	wraps.layout(&out, pieces)
	out.WriteByte('\n')
	_, err := io.WriteString(wraps.to, out.String())
	return err
}

// writer wraps the lines of each Write, which has whole lines.
type writer struct {
	to      io.Writer
	width   int
	colours bool
}

func (w *writer) Write(p []byte) (int, error) {
	if _, err := io.WriteString(w.to, Wrap(string(p), w.width)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Wrap breaks lines at spaces so that each has at most width columns, except for words that are longer. What follows is
// indented by four columns more than the line, or by four if that leaves less than half of the width.
func Wrap(text string, width int) string {
	var out strings.Builder
	w := &writer{width: width}
	for line := range strings.Lines(text) {
		body, feed := strings.CutSuffix(line, "\n")
		w.layout(&out, []Piece{{Text: body}})
		if feed {
			out.WriteByte('\n')
		}
	}
	return out.String()
}

// layout appends a line that is wrapped.
func (w *writer) layout(out *strings.Builder, pieces []Piece) {
	var cells []cell
	for _, p := range pieces {
		for text := p.Text; text != ""; {
			_, size := utf8.DecodeRuneInString(text)
			cells = append(cells, cell{text[:size], p.Style, text[0] == ' ' && !p.Whole, p.Whole})
			text = text[size:]
		}
	}
	for len(cells) > 0 && cells[len(cells)-1].is == " " {
		cells = cells[:len(cells)-1]
	}
	start := 0
	for start < len(cells) && (cells[start].is == " " || cells[start].is == "\t") {
		start++
	}
	indent := append(append([]cell(nil), cells[:start]...), spaces[:]...)
	if len(indent) > w.width/2 {
		indent = spaces[:]
	}

	pen := pen{out: out, colours: w.colours}
	pen.write(cells[:start])
	first := true
	for start < len(cells) {
		word := start
		for word < len(cells) && cells[word].blank {
			word++
		}
		end := word
		for end < len(cells) && !cells[end].blank {
			end++
		}
		if !first && pen.after(cells[start:end]) > w.width && (len(indent)+end-word <= w.width || !cells[word].whole) {
			pen.feed(indent)
			start = word
		}
		pen.write(cells[start:end])
		first, start = false, end
	}
	pen.end()
}

// cell is a character of a line.
type cell struct {
	is    string // its bytes
	style Style
	blank bool // the line may be broken here
	whole bool // of a piece that is not wrapped, which begins no line if it is too long for one
}

// spaces is how much further than its beginning a line is indented behind a break.
var spaces = [4]cell{{is: " "}, {is: " "}, {is: " "}, {is: " "}}

// pen writes cells and knows its column.
type pen struct {
	out     *strings.Builder
	colours bool
	style   Style
	column  int
}

// after returns the column that the pen would be in behind some cells.
func (p *pen) after(cells []cell) int {
	column := p.column
	for _, c := range cells {
		if column++; c.is == "\t" {
			column = (column + 7) / 8 * 8
		}
	}
	return column
}

func (p *pen) write(cells []cell) {
	for _, c := range cells {
		if c.style != p.style && p.colours {
			if p.end(); c.style != Plain && c.is != " " {
				p.out.WriteString(codes[c.style])
				p.style = c.style
			}
		}
		p.out.WriteString(c.is)
	}
	p.column = p.after(cells)
}

// feed begins a line.
func (p *pen) feed(indent []cell) {
	p.end()
	p.out.WriteByte('\n')
	p.column = 0
	p.write(indent)
}

// end ends the style.
func (p *pen) end() {
	if p.style != Plain {
		p.out.WriteString(codes[Plain])
		p.style = Plain
	}
}
