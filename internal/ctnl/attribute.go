package ctnl

import (
	"encoding/binary"
	"fmt"
)

// The sizes of the headers of a netfilter netlink message: struct nlmsghdr, struct nfgenmsg, struct nlattr.
const (
	HeaderSize    = 16
	GenSize       = 4
	AttributeSize = 4
)

// typeMask leaves the type of an attribute without its flags (include/uapi/linux/netlink.h, NLA_TYPE_MASK).
const typeMask = 1<<14 - 1

// Attributes calls f for each netlink attribute in b with its type, where its value lies in the message, and its value,
// which shares memory with b. Where b begins in the message is for errors, which name the offset.
func Attributes(b []byte, at int, f func(typ uint16, at int, v []byte) error) error {
	for len(b) > 0 {
		if len(b) < AttributeSize {
			return fmt.Errorf("netlink attribute at offset %d: %d bytes are shorter than its header", at, len(b))
		}
		n := int(binary.NativeEndian.Uint16(b))
		if n < AttributeSize || n > len(b) {
			return fmt.Errorf("netlink attribute at offset %d: length %d, %d bytes are there", at, n, len(b))
		}
		if err := f(binary.NativeEndian.Uint16(b[2:])&typeMask, at+AttributeSize, b[AttributeSize:n]); err != nil {
			return err
		}
		padded := min((n+3)&^3, len(b))
		b, at = b[padded:], at+padded
	}
	return nil
}

// Body returns the attributes of the body of a netfilter message, and where they lie in the message. The body begins at
// offset at, with struct nfgenmsg.
func Body(body []byte, at int) (attrs []byte, attrsAt int, err error) {
	if len(body) < GenSize {
		return nil, 0, fmt.Errorf("netfilter message at offset %d: %d bytes are shorter than its header", at, len(body))
	}
	return body[GenSize:], at + GenSize, nil
}

// value reads the value of an attribute of a size that must be.
type value struct {
	typ uint16
	at  int
	b   []byte
}

func (v value) wrong(want int) error {
	return fmt.Errorf("netlink attribute of type %d, value at offset %d: %d bytes, want %d", v.typ, v.at, len(v.b), want)
}

func (v value) u8(to *uint8) error {
	if len(v.b) != 1 {
		return v.wrong(1)
	}
	*to = v.b[0]
	return nil
}

func (v value) u16(to *uint16) error {
	if len(v.b) != 2 {
		return v.wrong(2)
	}
	*to = binary.BigEndian.Uint16(v.b)
	return nil
}

func (v value) u32(to *uint32) error {
	if len(v.b) != 4 {
		return v.wrong(4)
	}
	*to = binary.BigEndian.Uint32(v.b)
	return nil
}

func (v value) u64(to *uint64) error {
	if len(v.b) != 8 {
		return v.wrong(8)
	}
	*to = binary.BigEndian.Uint64(v.b)
	return nil
}

// text reads a string up to its NUL.
func (v value) text() string {
	for i, c := range v.b {
		if c == 0 {
			return string(v.b[:i])
		}
	}
	return string(v.b)
}
