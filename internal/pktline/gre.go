package pktline

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/ctexp/go-ctexp/internal/header"
)

// gre shows the header and, within version 0, the packet that it carries.
func (h packet) gre(in nesting) string {
	b := h.body
	if len(b) < 4 {
		return "gre"
	}
	version, proto := b[1]&7, binary.BigEndian.Uint16(b[2:])
	var w strings.Builder
	fmt.Fprintf(&w, "GREv%d", version)
	at := 4
	field := func(there bool, format string) {
		if !there {
			return
		}
		if len(b) >= at+4 && format != "" {
			fmt.Fprintf(&w, format, binary.BigEndian.Uint32(b[at:]))
		}
		at += 4
	}
	field(b[0]&0xc0 != 0, "") // checksum and offset
	switch version {
	case 1: // length of the payload and the call, RFC 2637
		if len(b) >= 8 {
			fmt.Fprintf(&w, ", call %d", binary.BigEndian.Uint16(b[6:]))
		}
		at += 4
	default:
		field(b[0]&0x20 != 0, ", key %#x")
	}
	field(b[0]&0x10 != 0, ", seq %d")
	field(version == 1 && b[1]&0x80 != 0, ", ack %d")
	if at > h.size {
		w.WriteString(", header cut")
	}
	fmt.Fprintf(&w, ", proto %#04x, length %d", proto, h.size)
	if ip := proto == header.EtherTypeIPv4 || proto == header.EtherTypeIPv6; ip && version == 0 && at < len(b) {
		w.WriteString(": " + inner(b[at:], in))
	}
	return w.String()
}
