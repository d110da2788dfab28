package ctnl

import (
	"encoding/binary"
	"fmt"
)

// MessageHeader is what the header of a netlink message says (struct nlmsghdr).
type MessageHeader struct {
	Type, Flags   uint16
	Sequence, PID uint32
}

// Messages calls f for each netlink message of a datagram, with its header, its body, which shares memory with b, and
// where the body lies in b. What is not whole is an error that names its offset.
func Messages(b []byte, f func(h MessageHeader, body []byte, at int) error) error {
	for at := 0; at < len(b); {
		rest := b[at:]
		if len(rest) < HeaderSize {
			return fmt.Errorf("netlink message at offset %d: %d bytes are shorter than its header", at, len(rest))
		}
		n := binary.NativeEndian.Uint32(rest)
		if n < HeaderSize || uint64(n) > uint64(len(rest)) {
			return fmt.Errorf("netlink message at offset %d: length %d, %d bytes are there", at, n, len(rest))
		}
		h := MessageHeader{
			Type:     binary.NativeEndian.Uint16(rest[4:]),
			Flags:    binary.NativeEndian.Uint16(rest[6:]),
			Sequence: binary.NativeEndian.Uint32(rest[8:]),
			PID:      binary.NativeEndian.Uint32(rest[12:]),
		}
		if err := f(h, rest[HeaderSize:n], at+HeaderSize); err != nil {
			return err
		}
		at += (int(n) + 3) &^ 3
	}
	return nil
}
