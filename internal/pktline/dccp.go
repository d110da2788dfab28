package pktline

import (
	"encoding/binary"
	"fmt"
)

func (h packet) dccp() string {
	b := h.body
	if len(b) < 12 {
		return "dccp"
	}
	typ, size := b[8]>>1&15, int(b[4])*4
	line := DCCPType(typ)
	long, at := b[8]&1 == 1, 12 // sequence numbers of 48 or 24 bits, of which the first is in front of at
	if long {
		at = 16
	}
	if len(b) < at || size < at || size > h.size {
		return fmt.Sprintf("%s, header cut or bad, length %d", line, h.size)
	}
	line += fmt.Sprintf(", seq %d", number(b[9:at], long))
	if hasAck := typ != 0 && typ != 2; hasAck {
		n := 4
		if long {
			n = 8
		}
		if len(b) >= at+n {
			line += fmt.Sprintf(", ack %d", number(b[at:at+n], long))
		}
		at += n
	}
	if len(b) >= at+4 {
		switch typ {
		case 0, 1:
			line += fmt.Sprintf(", service %d", binary.BigEndian.Uint32(b[at:]))
		case 7:
			line += fmt.Sprintf(", code %d", b[at])
		}
	}
	return fmt.Sprintf("%s, length %d", line, h.size-size)
}

// number returns the last 48 or 24 bits of b.
func number(b []byte, long bool) uint64 {
	n := 3
	if long {
		n = 6
	}
	var out uint64
	for _, c := range b[len(b)-n:] {
		out = out<<8 | uint64(c)
	}
	return out
}

// DCCPType returns the name of a type of DCCP packet as tcpdump has it: "DCCP-Request".
func DCCPType(t uint8) string {
	names := [...]string{
		"Request", "Response", "Data", "Ack", "DataAck", "CloseReq", "Close", "Reset", "Sync", "SyncAck",
	}
	if int(t) < len(names) {
		return "DCCP-" + names[t]
	}
	return fmt.Sprintf("DCCP-%d", t)
}
