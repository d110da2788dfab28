package terminal

import (
	"fmt"
	"os"
	"path/filepath"
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
