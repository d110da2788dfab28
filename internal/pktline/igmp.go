package pktline

import (
	"encoding/binary"
	"fmt"
)

func (h packet) igmp() string {
	b := h.body
	if len(b) < 8 {
		return "igmp"
	}
	group := addr(b[4:8])
	line := fmt.Sprintf("igmp type %#x", b[0])
	switch b[0] {
	case 0x11:
		line = "igmp query"
		if !group.IsUnspecified() {
			line += fmt.Sprintf(" for %v", group)
		}
	case 0x12:
		line = fmt.Sprintf("igmp v1 report %v", group)
	case 0x16:
		line = fmt.Sprintf("igmp v2 report %v", group)
	case 0x17:
		line = fmt.Sprintf("igmp leave %v", group)
	case 0x22:
		line = fmt.Sprintf("igmp v3 report, %d group record(s)", binary.BigEndian.Uint16(b[6:]))
	}
	return fmt.Sprintf("%s, length %d", line, h.size)
}
