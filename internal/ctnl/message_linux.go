package ctnl

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Split cuts what one read of a netlink socket gave into its messages, which do not share memory with b. Padding
// behind the last message is no error; anything else that is not a whole message is one that names its offset.
func Split(b []byte) ([]netlink.Message, error) {
	var msgs []netlink.Message
	for off := 0; off < len(b); {
		rest := b[off:]
		if len(rest) < unix.NLMSG_HDRLEN {
			return nil, fmt.Errorf("netlink message at offset %d: %d bytes are shorter than its header", off, len(rest))
		}
		h := netlink.Header{
			Length:   binary.NativeEndian.Uint32(rest),
			Type:     netlink.HeaderType(binary.NativeEndian.Uint16(rest[4:])),
			Flags:    netlink.HeaderFlags(binary.NativeEndian.Uint16(rest[6:])),
			Sequence: binary.NativeEndian.Uint32(rest[8:]),
			PID:      binary.NativeEndian.Uint32(rest[12:]),
		}
		if h.Length < unix.NLMSG_HDRLEN || uint64(h.Length) > uint64(len(rest)) {
			return nil, fmt.Errorf("netlink message at offset %d: length %d, %d bytes are there", off, h.Length, len(rest))
		}
		n := int(h.Length)
		msgs = append(msgs, netlink.Message{Header: h, Data: bytes.Clone(rest[unix.NLMSG_HDRLEN:n])})
		off += (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1)
	}
	return msgs, nil
}

// errno returns what the first four bytes of an NLMSG_ERROR or NLMSG_DONE say: nil for an acknowledgement.
func errno(data []byte) error {
	if len(data) < 4 {
		return fmt.Errorf("netlink acknowledgement of %d bytes: want 4 or more", len(data))
	}
	if code := int32(binary.NativeEndian.Uint32(data)); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}
