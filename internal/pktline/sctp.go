package pktline

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// sctp lists the chunks, with the fields by which one tells what they are for.
func (h packet) sctp() string {
	if len(h.body) < 12 {
		return "sctp"
	}
	var w strings.Builder
	fmt.Fprintf(&w, "sctp tag %d", binary.BigEndian.Uint32(h.body[4:]))
	for _, c := range Chunks(h.body[12:]) {
		w.WriteString(" " + c)
	}
	fmt.Fprintf(&w, ", length %d", h.size)
	return w.String()
}

// Chunks returns the chunks of an SCTP packet, one text each: "[INIT tag 1, tsn 100]".
func Chunks(b []byte) []string {
	var out []string
	for len(b) > 0 {
		if len(b) < 4 {
			return append(out, "[cut]")
		}
		length := int(binary.BigEndian.Uint16(b[2:]))
		if length < 4 {
			return append(out, fmt.Sprintf("[%s bad length %d]", chunkName(b[0]), length))
		}
		value := b[4:min(len(b), length)]
		text := chunkName(b[0]) + chunkFields(b[0], value)
		if length > len(b) {
			return append(out, "["+text+" cut]")
		}
		out = append(out, "["+text+"]")
		b = b[min(len(b), (length+3)&^3):]
	}
	return out
}

func chunkFields(typ byte, v []byte) string {
	word := func(i int) uint32 { return binary.BigEndian.Uint32(v[4*i:]) }
	switch {
	case typ == 0 && len(v) >= 12:
		return fmt.Sprintf(" tsn %d, stream %d, seq %d, %d bytes", word(0), word(1)>>16, word(1)&0xffff, len(v)-12)
	case (typ == 1 || typ == 2) && len(v) >= 16:
		return fmt.Sprintf(" tag %d, tsn %d", word(0), word(3))
	case (typ == 3 || typ == 7) && len(v) >= 4:
		return fmt.Sprintf(" tsn %d", word(0))
	}
	return ""
}

func chunkName(typ byte) string {
	names := [...]string{
		"DATA", "INIT", "INIT ACK", "SACK", "HB REQ", "HB ACK", "ABORT", "SHUTDOWN", "SHUTDOWN ACK", "OP ERR",
		"COOKIE ECHO", "COOKIE ACK", 14: "SHUTDOWN COMPLETE",
	}
	if int(typ) < len(names) && names[typ] != "" {
		return names[typ]
	}
	return fmt.Sprintf("chunk-%d", typ)
}
