// Package terminal writes text for people who read it in a terminal: lines fit its width, and words stay whole. What goes
// into a file or a pipe is left as it is, so that programs can read it.
package terminal

import (
	"io"
	"os"
	"strings"
)

// Output returns a writer to f that wraps lines if f is a terminal, and else f itself.
func Output(f *os.File) io.Writer {
	if width := Width(f); width > 0 {
		return &writer{f, width}
	}
	return f
}

// Data returns the writer below one that wraps lines, for what must stay as it is, such as JSON.
func Data(w io.Writer) io.Writer {
	if wraps, ok := w.(*writer); ok {
		return wraps.to
	}
	return w
}

// writer wraps the lines of each Write, which has whole lines.
type writer struct {
	to    io.Writer
	width int
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
	for line := range strings.Lines(text) {
		body, feed := strings.CutSuffix(line, "\n")
		body = strings.TrimRight(body, " ")
		indent := body[:len(body)-len(strings.TrimLeft(body, " \t"))] + "    "
		if len(indent) > width/2 {
			indent = "    "
		}
		for {
			head, rest := cut(body, width)
			out.WriteString(head)
			if rest == "" {
				break
			}
			out.WriteByte('\n')
			body = indent + rest
		}
		if feed {
			out.WriteByte('\n')
		}
	}
	return out.String()
}

// cut returns what of a line fits into width columns, and the rest without the spaces between them.
func cut(line string, width int) (head, rest string) {
	start := len(line) - len(strings.TrimLeft(line, " \t")) // no break within the indentation
	at, column, fits := -1, 0, true
	for i, r := range line {
		if r == ' ' && i > start && (column <= width || at < 0) {
			at = i
		}
		if column++; r == '\t' {
			column = (column + 7) / 8 * 8
		}
		if column > width {
			fits = false
			if at >= 0 {
				break
			}
		}
	}
	if fits || at < 0 {
		return line, ""
	}
	return strings.TrimRight(line[:at], " "), strings.TrimLeft(line[at:], " ")
}
