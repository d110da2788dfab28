package pcap

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// The magic numbers of pcap in big-endian order (libpcap, sf-pcap.c).
const (
	magicMicro  = 0xa1b2c3d4
	magicNano   = 0xa1b23c4d
	magicPatch  = 0xa1b2cd34 // Kuznetzov's patch: each packet has its interface, protocol and type
	fileHeader  = 24
	packetHead  = 16
	patchedHead = 8 // more bytes of a packet's header in a patched file
)

// classic reads a pcap file of any version. pcapgo of gopacket reads version 2.4 alone, and refuses packets whose length on the wire is less
// than what was captured, as some programs write them.
type classic struct {
	r        *bufio.Reader
	order    binary.ByteOrder
	nano     bool
	patched  bool
	swapped  bool // the two lengths of each packet are in the other order
	maySwap  bool // they are where the captured one would be larger
	linkType linkType
	data     []byte
}

// nextOfPcap reads the header of a pcap file and returns a function that reads the next packet.
func nextOfPcap(b *bufio.Reader) (func() (record, error), error) {
	var head [fileHeader]byte
	if _, err := io.ReadFull(b, head[:]); err != nil {
		return nil, truncated(err)
	}
	c := &classic{r: b, order: binary.LittleEndian}
	if magic := binary.BigEndian.Uint32(head[:]); magic == magicMicro || magic == magicNano || magic == magicPatch {
		c.order = binary.BigEndian
	}
	switch c.order.Uint32(head[:]) {
	case magicNano:
		c.nano = true
	case magicPatch:
		c.patched = true
	}
	major, minor := c.order.Uint16(head[4:]), c.order.Uint16(head[6:])
	if major != 2 {
		return nil, fmt.Errorf("pcap of version %d.%d: want 2.0 to 2.4", major, minor)
	}
	// The lengths changed places in 2.3, which some programs did before, and some after (libpcap, pcap_check_header).
	c.swapped, c.maySwap = minor < 3, minor == 3
	c.linkType = linkType(c.order.Uint16(head[c.lower():])) // the other half tells about checksums of frames
	return c.next, nil
}

// lower returns where in the header the lower half of the link type is.
func (c *classic) lower() int {
	if c.order == binary.BigEndian {
		return 22
	}
	return 20
}

// next reads a packet. Its data is valid until the next one is read.
func (c *classic) next() (record, error) {
	var head [packetHead + patchedHead]byte
	n := packetHead
	if c.patched {
		n += patchedHead
	}
	if _, err := io.ReadFull(c.r, head[:n]); err != nil {
		return record{}, truncated(err) // io.EOF is returned unchanged
	}
	captured, length := c.order.Uint32(head[8:]), c.order.Uint32(head[12:])
	if c.swapped || c.maySwap && captured > length {
		captured, length = length, captured
	}
	if captured > maxPacket {
		return record{}, fmt.Errorf("a captured length of %d bytes exceeds %d: the file is damaged", captured, maxPacket)
	}
	if int(captured) > cap(c.data) {
		c.data = make([]byte, captured)
	}
	c.data = c.data[:captured]
	if _, err := io.ReadFull(c.r, c.data); err != nil {
		return record{}, atEnd(truncated(err))
	}
	fraction := time.Duration(c.order.Uint32(head[4:])) * time.Microsecond
	if c.nano {
		fraction /= 1000
	}
	return record{
		time: time.Unix(int64(c.order.Uint32(head[:])), int64(fraction)).UTC(), linkType: c.linkType,
		data: c.data, length: int(max(length, captured)),
	}, nil
}
