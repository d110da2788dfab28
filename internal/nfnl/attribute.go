package nfnl

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// AttributeSize is the size of struct nlattr.
const AttributeSize = 4

// The upper bits of an attribute's type (include/uapi/linux/netlink.h, NLA_F_NESTED and NLA_TYPE_MASK).
const (
	flagNested = 1 << 15
	typeMask   = 1<<14 - 1
)

// Attributes calls f for each netlink attribute in b, with its type, the offset of its value in the message, and the
// value, which shares memory with b. The argument at is the offset of b in the message. Errors contain offsets.
func Attributes(b []byte, at int, f func(typ uint16, at int, v []byte) error) error {
	a := attributes{data: b, base: at}
	for a.read() {
		v := a.value()
		a.err = f(v.typ, v.at, v.b)
	}
	return a.err
}

// attributes reads netlink attributes one after the other:
//
//	for a.read() {
//		a.err = a.value().u32(&mark)
//	}
//	return a.err
//
// Only numbers change while it reads, and read is small enough to be inlined: a dump is hundreds of attributes in each
// microsecond that the kernel needs for it.
type attributes struct {
	data       []byte
	base       int // offset of data in the datagram
	start, end int // of the current attribute's value in data
	typ        uint16
	err        error // ends the reading
}

// read moves to the next attribute. It returns false at the end and after an error.
func (a *attributes) read() bool {
	at := (a.end + 3) &^ 3
	if at >= len(a.data) || a.err != nil {
		return false
	}
	rest := a.data[at:]
	if len(rest) < AttributeSize {
		return a.short(at)
	}
	n := int(binary.NativeEndian.Uint16(rest))
	if n < AttributeSize || n > len(rest) {
		return a.short(at)
	}
	a.typ, a.start, a.end = binary.NativeEndian.Uint16(rest[2:])&typeMask, at+AttributeSize, at+n
	return true
}

// short sets the error of an attribute that is not whole.
func (a *attributes) short(at int) bool {
	rest := a.data[at:]
	if len(rest) < AttributeSize {
		a.err = fmt.Errorf("netlink attribute at offset %d: %d bytes are shorter than its header", a.base+at, len(rest))
	} else {
		a.err = fmt.Errorf("netlink attribute at offset %d: length %d, %d bytes are there", a.base+at, binary.NativeEndian.Uint16(rest), len(rest))
	}
	return false
}

// value returns the current attribute.
func (a *attributes) value() value { return value{a.typ, a.base + a.start, a.data[a.start:a.end]} }

// inside returns the attributes nested in the value.
func (v value) inside() attributes { return attributes{data: v.b, base: v.at} }

// CString returns the string up to its NUL. Not all strings from the kernel have one.
func CString(v []byte) string {
	s, _, _ := bytes.Cut(v, []byte{0})
	return string(s)
}

// value is the value of an attribute.
type value struct {
	typ uint16
	at  int // offset in the datagram
	b   []byte
}

// check returns an error unless the value has n bytes.
func (v value) check(n int) error {
	if len(v.b) != n {
		return v.wrongSize(n)
	}
	return nil
}

func (v value) wrongSize(want int) error {
	return fmt.Errorf("netlink attribute of type %d, value at offset %d: %d bytes, want %d", v.typ, v.at, len(v.b), want)
}

func (v value) u8(to *uint8) error {
	if err := v.check(1); err != nil {
		return err
	}
	*to = v.b[0]
	return nil
}

func (v value) u16(to *uint16) error {
	if err := v.check(2); err != nil {
		return err
	}
	*to = binary.BigEndian.Uint16(v.b)
	return nil
}

func (v value) u32(to *uint32) error {
	if err := v.check(4); err != nil {
		return err
	}
	*to = binary.BigEndian.Uint32(v.b)
	return nil
}

func (v value) s32(to *int32) error {
	if err := v.check(4); err != nil {
		return err
	}
	*to = int32(binary.BigEndian.Uint32(v.b))
	return nil
}

func (v value) u64(to *uint64) error {
	if err := v.check(8); err != nil {
		return err
	}
	*to = binary.BigEndian.Uint64(v.b)
	return nil
}

// seconds reads a number of seconds.
func (v value) seconds(to *time.Duration) error {
	var n uint32
	err := v.u32(&n)
	*to = time.Duration(n) * time.Second
	return err
}

// time reads nanoseconds since 1970. It leaves the time unchanged if they are zero or out of range.
func (v value) time(to *time.Time) error {
	var n uint64
	err := v.u64(&n)
	if int64(n) > 0 {
		*to = time.Unix(0, int64(n))
	}
	return err
}

// UnknownError reports an attribute that this package does not know, as later kernels may add. The known attributes are
// still decoded, except in a tuple: a part of it would identify another flow.
type UnknownError struct {
	Among  string // the object that the attribute belongs to, such as "entry"
	Type   uint16 // type of the attribute
	Offset int    // offset of its value in the datagram
}

// Error names the attribute and its offset.
func (e *UnknownError) Error() string {
	return fmt.Sprintf("netlink attribute of type %d, value at offset %d: unknown attribute of the %s", e.Type, e.Offset, e.Among)
}

func (v value) unknown(among string) *UnknownError {
	return &UnknownError{Among: among, Type: v.typ, Offset: v.at}
}

// unknowns records the first unknown attribute.
type unknowns struct{ first *UnknownError }

func (u *unknowns) add(v value, among string) {
	if u.first == nil {
		u.first = v.unknown(among)
	}
}

// errUnknown is returned by the argument of unknowns.each for an unknown attribute.
var errUnknown = errors.New("unknown attribute")

// each calls f for each attribute in b, which belong to the object named by among. If f returns errUnknown, the
// attribute is recorded and is not an error.
func (u *unknowns) each(b []byte, at int, among string, f func(v value) error) error {
	return Attributes(b, at, func(typ uint16, at int, b []byte) error {
		v := value{typ, at, b}
		err := f(v)
		if err == errUnknown {
			u.add(v, among)
			return nil
		}
		return err
	})
}
