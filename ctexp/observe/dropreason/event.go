package dropreason

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// event is what the BPF program says of a packet, in the machine's byte order.
type event struct {
	monotonic uint64 // ns since the machine was started
	location  uint64 // address in the kernel behind the call that dropped it
	reason    uint32
	length    uint32
	link      string
	packet    []byte // of the record, not a copy
}

// Where the record of an event has its fields.
const (
	atTime     = 0
	atLocation = 8
	atReason   = 16
	atLength   = 20
	atCaptured = 24 // bytes of the packet; at 28 nothing
	atLink     = 32
	linkSize   = 16 // IFNAMSIZ
	atPacket   = atLink + linkSize
	packetSize = 128 // IPv6 with options and TCP with options fit
	eventSize  = atPacket + packetSize
)

// decode reads a record.
func decode(b []byte) (event, error) {
	if len(b) < eventSize {
		return event{}, fmt.Errorf("drop of %d bytes: want %d", len(b), eventSize)
	}
	n := binary.NativeEndian.Uint32(b[atCaptured:])
	if n > packetSize {
		return event{}, fmt.Errorf("drop at offset %d: %d bytes of a packet, want %d at most", atCaptured, n, packetSize)
	}
	link, _, _ := bytes.Cut(b[atLink:atLink+linkSize], []byte{0})
	return event{
		monotonic: binary.NativeEndian.Uint64(b[atTime:]),
		location:  binary.NativeEndian.Uint64(b[atLocation:]),
		reason:    binary.NativeEndian.Uint32(b[atReason:]),
		length:    binary.NativeEndian.Uint32(b[atLength:]),
		link:      string(link),
		packet:    b[atPacket : atPacket+int(n)],
	}, nil
}
