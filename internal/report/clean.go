package report

import (
	"fmt"
	"reflect"
	"strings"
	"unicode"
)

// clean returns a copy of a plain value in which every string can be shown: control characters, which could hide what
// stands beside them, and those that turn the direction of the text, have visible stand-ins.
func clean[T any](v T) T {
	scrub(reflect.ValueOf(&v).Elem())
	return v
}

func scrub(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(visible(v.String()))
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				scrub(v.Field(i))
			}
		}
	case reflect.Slice: // of the copy, not of the caller's
		if v.IsNil() {
			return
		}
		own := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(own, v)
		v.Set(own)
		for i := range v.Len() {
			scrub(v.Index(i))
		}
	}
}

// visible replaces what cannot be seen. Line feeds and tabs stay; the no-break spaces that cmp mixes into its diffs
// become plain ones.
func visible(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if strings.IndexFunc(s, odd) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !odd(r):
			b.WriteRune(r)
		case r == '\u00a0':
			b.WriteByte(' ')
		case r < ' ':
			b.WriteRune('\u2400' + r) // the pictures of the control characters
		case r == 0x7f:
			b.WriteRune('\u2421')
		default:
			fmt.Fprintf(&b, "<U+%04X>", r)
		}
	}
	return b.String()
}

func odd(r rune) bool {
	return r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u00a0' || r == '\u2028' || r == '\u2029')
}
