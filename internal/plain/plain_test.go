package plain

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestWhatIsNotVisibleIsWritten(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, text, line string }{
		{"nothing", "", "", ""},
		{"ordinary", "tcp dport 80 «Grüße» 漢字 😀", "tcp dport 80 «Grüße» 漢字 😀", "tcp dport 80 «Grüße» 漢字 😀"},
		{"line feed and tab", "a\n\tb", "a\n\tb", `a\n\tb`},
		{"return", "safe\rrm", `safe\rrm`, `safe\rrm`},
		{"C0", "\x00\x07\x08\x1b[31m", `\x00\x07\x08\x1b[31m`, `\x00\x07\x08\x1b[31m`},
		{"DEL", "a\x7f", `a\x7f`, `a\x7f`},
		{"C1", "\u0085\u009b31m", `\u0085\u009b31m`, `\u0085\u009b31m`},
		{"C1 as bytes", "\x9b31m", `\x9b31m`, `\x9b31m`},
		{"embeddings", "\u202a\u202b\u202c\u202d\u202e", `\u202a\u202b\u202c\u202d\u202e`, `\u202a\u202b\u202c\u202d\u202e`},
		{"isolates", "\u2066\u2067\u2068\u2069", `\u2066\u2067\u2068\u2069`, `\u2066\u2067\u2068\u2069`},
		{"separators", "\u2028\u2029", `\u2028\u2029`, `\u2028\u2029`},
		{"tags", "\U000e0041", `\U000e0041`, `\U000e0041`},
		{"no UTF-8", "a\xff\xc3", `a\xff\xc3`, `a\xff\xc3`},
		{"replacement", "\ufffd", "\ufffd", "\ufffd"},
		{"no-break space", "a\u00a0b", "a b", "a b"},
	} {
		if got := Text(tt.in); got != tt.text {
			t.Errorf("%s: the text is %q, want %q", tt.name, got, tt.text)
		}
		if got := Line(tt.in); got != tt.line {
			t.Errorf("%s: the line is %q, want %q", tt.name, got, tt.line)
		}
		if got, want := IsVisible(tt.in), tt.in == tt.line; got != want {
			t.Errorf("%s: visible %v, want %v", tt.name, got, want)
		}
	}
}

// What JSON returns has the value that it had.
func TestJSONKeepsTheValue(t *testing.T) {
	t.Parallel()
	want := "\x1b\x7f\u009b\u202e\u2066\u2028\u00a0\U000e0041 ≤ <b> 漢\n\t"
	value, err := json.Marshal([]string{want})
	if err != nil {
		t.Fatal(err)
	}

	written := JSON(value)

	var got []string
	if err := json.Unmarshal(written, &got); err != nil || len(got) != 1 || got[0] != want {
		t.Errorf("%s is %q, %v; want %q", written, got, err, want)
	}
	if Text(string(written)) != strings.ReplaceAll(string(written), "\u00a0", " ") {
		t.Errorf("%s has what is not visible", written)
	}
}

func FuzzTextIsHarmless(f *testing.F) {
	f.Add("\x1b]0;title\x07\u202e\xff\n")
	f.Fuzz(func(t *testing.T, s string) {
		text, line := Text(s), Line(s)
		if !utf8.ValidString(text) || strings.IndexFunc(text, isHidden) >= 0 || Text(text) != text {
			t.Errorf("the text of %q is %q", s, text)
		}
		if strings.ContainsAny(line, "\n\t") || Line(line) != line || Line(text) != line {
			t.Errorf("the line of %q is %q", s, line)
		}
	})
}
