package nfnl_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// shortened calls each with copies of attributes in which one, whose types from the outermost are its path, lacks its last byte.
func shortened(attrs []byte, each func(path string, changed []byte)) {
	for at := 0; at < len(attrs); {
		n := int(binary.NativeEndian.Uint16(attrs[at:]))
		typ, value := binary.NativeEndian.Uint16(attrs[at+2:]), attrs[at+4:at+n]
		next := at + (n+3)&^3
		replace := func(path string, value []byte) { each(path, slices.Concat(attrs[:at], attr(typ, value), attrs[next:])) }
		switch {
		case typ&nested != 0:
			shortened(value, func(path string, b []byte) { replace(fmt.Sprintf("%d.%s", typ&^nested, path), b) })
		case n > 4:
			replace(fmt.Sprint(typ), value[:n-5])
		}
		at = next
	}
}

// A number that lacks a byte is an error that no decoder swallows. Only texts and bytes may have any length.
func TestNumbersOfAWrongSizeAreErrors(t *testing.T) {
	t.Parallel()
	address6 := bytes.Repeat([]byte{1}, 16)
	echo6 := attr(1|nested,
		attr(1|nested, attr(3, address6), attr(4, address6)),
		attr(2|nested, attr(1, u8(58)), attr(7, u16(7)), attr(8, u8(128)), attr(9, u8(0))))
	ofAnEntry := []string{"11", "17", "19.1", "22", "5.1", "5.2"} // use, secmark; secctx, labels, helper and its own data
	for name, c := range map[string]struct {
		whole  []byte
		decode func([]byte) error
		texts  []string // and what is not decoded
	}{
		"an entry":       {wholeEntry(), func(b []byte) error { _, err := nfnl.DecodeEntry(b, 16); return err }, ofAnEntry},
		"an echo":        {body(echo6), func(b []byte) error { _, err := nfnl.DecodeEntry(b, 16); return err }, nil},
		"an event":       {wholeEntry(), func(b []byte) error { _, _, _, err := nfnl.DecodeEvent(b, 16); return err }, ofAnEntry},
		"an expectation": {wholeExpectation(), func(b []byte) error { _, _, err := nfnl.DecodeWholeExpectation(b, 16); return err }, []string{"11", "6"}},
		"a logged packet": {
			body(attr(3, u64(7), u64(9)), attr(4, u32(2)), attr(5, u32(3)), attr(9, u8(1)), attr(10, []byte("x\x00")), attr(12, u32(5))),
			func(b []byte) error { _, err := nfnl.DecodeLogged(b, 16); return err }, []string{"10", "9"},
		},
		"a queued packet": {
			body(attr(1, u32(7), u16(0x0800), u8(2)), attr(3, u32(9)), attr(5, u32(2)), attr(6, u32(3)), attr(10, u8(1)), attr(12, u32(4)), attr(13, u32(9))),
			func(b []byte) error { _, err := nfnl.DecodeQueued(b, 16); return err }, []string{"10"},
		},
		"a trace": {
			body(attr(1, []byte("filter\x00")), attr(3, u64(258)), attr(4, u32(3)), attr(5|nested, attr(1, u32(1)), attr(2, []byte("web\x00"))),
				attr(6, u32(9)), attr(10, u32(4)), attr(12, u32(5)), attr(16, u32(1)), attr(20, u32(8)), attr(21, u32(2))),
			func(b []byte) error { _, err := nfnl.DecodeTrace(b, 16); return err }, []string{"1", "5.2"},
		},
	} {
		if err := c.decode(c.whole); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var accepted []string
		shortened(c.whole[4:], func(path string, b []byte) {
			if c.decode(body(b)) == nil {
				accepted = append(accepted, path)
			}
		})
		slices.Sort(accepted)
		if diff := cmp.Diff(c.texts, accepted); diff != "" {
			t.Errorf("%s: attributes that may be shorter (-want +got):\n%s", name, diff)
		}
	}
}
