package terminal

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestLinesFitAndWordsStayWhole(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"short\n":                     "short\n",
		"no feed":                     "no feed",
		"\n\n":                        "\n\n",
		"one two three four five\n":   "one two\n    three\n    four\n    five\n",
		"  one two three four\n":      "  one two\n    three\n    four\n",
		"alongwordthatdoesnotfit it":  "alongwordthatdoesnotfit\n    it",
		"it alongwordthatdoesnotfit":  "it\n    alongwordthatdoesnotfit",
		"äöü äöü äöü\n":               "äöü äöü\n    äöü\n",
		"\tone\n":                     "\tone\n",
		"\ta bcdef\n":                 "\ta\n\t    bcdef\n",
		"ten column\n":                "ten column\n",
		"1234567890 1\n":              "1234567890\n    1\n",
		"              deep words \n": "              deep\n    words\n",
	} {
		if got := Wrap(text, 10); got != want {
			t.Errorf("%q:\n%s\nwant\n%s", text, got, want)
		}
	}
}

// Styles begin and end within a line, and what is whole is not broken. Without a terminal there is neither.
func TestPiecesHaveStylesAndStayWhole(t *testing.T) {
	t.Parallel()
	line := []Piece{{Text: "  drop: "}, {Text: "lost here", Style: Bad}, {Text: " leaves: "}, {Text: "IP 1.2.3.4 > 5.6.7.8: x", Whole: true, Style: Dim}}
	for _, tt := range []struct {
		width   int
		colours bool
		want    string
	}{
		{60, false, "  drop: lost here leaves: IP 1.2.3.4 > 5.6.7.8: x\n"},
		{60, true, "  drop: \x1b[31mlost here\x1b[0m leaves: \x1b[2mIP 1.2.3.4 > 5.6.7.8: x\x1b[0m\n"},
		{12, true, "  drop: \x1b[31mlost\x1b[0m\n      \x1b[31mhere\x1b[0m\n      leaves: \x1b[2mIP 1.2.3.4 > 5.6.7.8: x\x1b[0m\n"},
		{30, false, "  drop: lost here leaves:\n      IP 1.2.3.4 > 5.6.7.8: x\n"},
	} {
		var out strings.Builder
		if err := Print(&writer{&out, tt.width, tt.colours}, line...); err != nil || out.String() != tt.want {
			t.Errorf("%d columns, %v: got %v\n%q\nwant\n%q", tt.width, tt.colours, err, out.String(), tt.want)
		}
	}
	var file strings.Builder
	if err := Print(&file, line...); err != nil || file.String() != "  drop: lost here leaves: IP 1.2.3.4 > 5.6.7.8: x\n" {
		t.Errorf("not a terminal: %v, %q", err, file.String())
	}
	colours, none := &writer{&file, 80, true}, &writer{&file, 80, false}
	got := []string{Styled(colours, Good, "ok"), Styled(colours, Plain, "ok"), Styled(none, Good, "ok"), Styled(&file, Good, "ok")}
	if want := []string{"\x1b[32mok\x1b[0m", "ok", "ok", "ok"}; !slices.Equal(got, want) {
		t.Errorf("styled: got %q, want %q", got, want)
	}
	if n := []int{Columns(colours, 100), Columns(&file, 100)}; !slices.Equal(n, []int{80, 100}) {
		t.Errorf("columns: got %v", n)
	}
}

// Colours are for terminals that know them, and for people who do not refuse them (https://no-color.org).
func TestColoursCanBeRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		noColor, term string
		want          bool
	}{{"", "xterm", true}, {"", "screen-256color", true}, {"1", "xterm", false}, {"0", "xterm", false}, {"", "dumb", false}, {"", "", false}} {
		if got := wanted(tt.noColor, tt.term); got != tt.want {
			t.Errorf("NO_COLOR=%s TERM=%s: %v", tt.noColor, tt.term, got)
		}
	}
}

// A line of a megabyte takes as long for each byte as a short one.
func BenchmarkWrap(b *testing.B) {
	for _, size := range []int{100, 1 << 20} {
		text := strings.Repeat("ab ", size/3)
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				Wrap(text, 80)
			}
		})
	}
}

// FuzzWrap checks that no word is lost, broken or added, and that lines are too long only for a word.
func FuzzWrap(f *testing.F) {
	f.Add("  tcp 198.18.0.2:10000 > 192.0.2.1:80 S\n entry tcp\tx\n", 12)
	f.Fuzz(func(t *testing.T, text string, width int) {
		if width < 8 || width > 200 || !utf8.ValidString(text) {
			return
		}
		got := Wrap(text, width)
		if a, b := strings.Fields(text), strings.Fields(got); fmt.Sprintf("%q", a) != fmt.Sprintf("%q", b) {
			t.Errorf("words %q, want %q", b, a)
		}
		for line := range strings.Lines(got) {
			line = strings.TrimRight(line, "\n ")
			if utf8.RuneCountInString(line) > width && strings.Contains(strings.TrimLeft(line, " \t"), " ") {
				t.Errorf("%q is longer than %d", line, width)
			}
		}
	})
}

func TestFilesAreNotWrapped(t *testing.T) {
	t.Parallel()
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if w := Output(file); w != file || Width(file) != 0 {
		t.Errorf("a file has a width of %d", Width(file))
	}
}
