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
	g := header.ParseGRE(b)
	var w strings.Builder
	fmt.Fprintf(&w, "GREv%d", g.Version)
	field := func(at int, format string) {
		if at > 0 {
			fmt.Fprintf(&w, format, binary.BigEndian.Uint32(b[at:]))
		}
	}
	if g.Version == 1 && g.Key > 0 { // the length of the payload, and the call
		fmt.Fprintf(&w, ", call %d", binary.BigEndian.Uint16(b[g.Key+2:]))
	} else {
		field(g.Key, ", key %#x")
	}
	field(g.Seq, ", seq %d")
	field(g.Ack, ", ack %d")
	if g.Length > h.size {
		w.WriteString(", header cut")
	}
	fmt.Fprintf(&w, ", proto %#04x, length %d", g.Protocol, h.size)
	if ip := g.Protocol == header.EtherTypeIPv4 || g.Protocol == header.EtherTypeIPv6; ip && g.Version == 0 && g.Length < len(b) {
		w.WriteString(": " + inner(b[g.Length:], in))
	}
	return w.String()
}
