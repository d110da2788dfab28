package report_test

import (
	"bytes"
	"reflect"
	"testing"
	"unicode/utf8"

	"github.com/ctexp/go-ctexp/internal/report"
)

// fill sets every string below v to s and every number to n, in lists of one item each.
func fill(v reflect.Value, s string, n uint64) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Bool:
		v.SetBool(n%2 == 1)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(n))
	case reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(n & (1<<v.Type().Bits() - 1))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), s, n)
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), s, n)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), s, n)
			}
		}
	}
}

// FuzzText checks that a text in every place of a page, and of every claim, is shown unchanged and adds no markup.
func FuzzText(f *testing.F) {
	for _, s := range []string{"", "x", "ipv4", "a/input", "</style><script>alert(1)</script>", `" onload="x`, "javascript:x", "{{.}}", "\x00\u202e\xff", "src=1 dst=2"} {
		f.Add(s, uint64(7))
	}
	f.Fuzz(func(t *testing.T, s string, n uint64) {
		var p report.Page
		fill(reflect.ValueOf(&p).Elem(), s, n)
		var claims bytes.Buffer
		if err := p.WriteHTML(&claims); err != nil {
			t.Fatal(err)
		}
		for name, page := range map[string][]byte{"report": html(t, p.Rows[0].Reports[0]), "claims": claims.Bytes()} {
			if strange := strangeMarkup(page); strange != "" || !utf8.Valid(page) {
				t.Errorf("the page of the %s is UTF-8: %v, and has %q", name, utf8.Valid(page), strange)
			}
		}
	})
}
