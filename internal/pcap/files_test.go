package pcap_test

import (
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/internal/pcap"
)

// order is a byte order.
type order interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// orders has both byte orders.
var orders = map[string]order{"little": binary.LittleEndian, "big": binary.BigEndian}

var at = time.Unix(1_700_000_000, 123_456_000).UTC()

// ip4 and ip6 are minimal packets.
var (
	ip4 = []byte{0x45, 0, 0, 21, 0, 0, 0x40, 0, 64, 253, 0, 0, 198, 18, 0, 2, 192, 0, 2, 1, 'x'}
	ip6 = append([]byte{0x60, 0, 0, 0, 0, 1, 59, 64}, append(make([]byte, 32), 'x')...)
)

// pcapFile returns the header of a pcap file.
func pcapFile(o order, magic, snap, linkType uint32) []byte {
	b := o.AppendUint32(nil, magic)
	b = o.AppendUint16(b, 2)
	b = o.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = o.AppendUint32(b, snap)
	return o.AppendUint32(b, linkType)
}

// pcapPacket returns a packet of a pcap file; the unit of fraction is the file's.
func pcapPacket(o order, fraction uint32, length int, data []byte) []byte {
	b := o.AppendUint32(nil, uint32(at.Unix()))
	b = o.AppendUint32(b, fraction)
	b = o.AppendUint32(b, uint32(len(data)))
	b = o.AppendUint32(b, uint32(length))
	return append(b, data...)
}

// block returns a block of a pcapng file.
func block(o order, typ uint32, body []byte) []byte {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	b := o.AppendUint32(nil, typ)
	b = o.AppendUint32(b, uint32(len(body))+12)
	b = append(b, body...)
	return o.AppendUint32(b, uint32(len(body))+12)
}

func section(o order) []byte {
	b := o.AppendUint32(nil, 0x1a2b3c4d)
	b = o.AppendUint16(b, 1)
	b = o.AppendUint16(b, 0)
	return block(o, 0x0a0d0d0a, o.AppendUint64(b, 1<<64-1))
}

// iface returns an interface block with a resolution of nanoseconds.
func iface(o order, linkType uint16, snap uint32, name string) []byte {
	b := o.AppendUint16(nil, linkType)
	b = o.AppendUint32(append(b, 0, 0), snap)
	if name != "" {
		b = option(o, b, 2, []byte(name))
	}
	return block(o, 1, append(option(o, b, 9, []byte{9}), 0, 0, 0, 0))
}

func option(o order, b []byte, code uint16, value []byte) []byte {
	b = o.AppendUint16(b, code)
	b = append(o.AppendUint16(b, uint16(len(value))), value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// packet returns an enhanced packet block, without flags if they are 0.
func packet(o order, link uint32, flags uint32, length int, data []byte) []byte {
	ns := uint64(at.UnixNano())
	b := o.AppendUint32(nil, link)
	b = o.AppendUint32(b, uint32(ns>>32))
	b = o.AppendUint32(b, uint32(ns))
	b = o.AppendUint32(b, uint32(len(data)))
	b = append(o.AppendUint32(b, uint32(length)), data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	if flags != 0 {
		b = append(option(o, b, 2, o.AppendUint32(nil, flags)), 0, 0, 0, 0)
	}
	return block(o, 6, b)
}

// readAll returns copies of all packets up to the first error other than io.EOF.
func readAll(t testing.TB, r io.Reader) (all []pcap.Packet, err error) {
	t.Helper()
	from, err := pcap.NewReader(r)
	if err != nil {
		return nil, err
	}
	for {
		p, err := from.Next()
		if errors.Is(err, io.EOF) {
			err = nil
			return all, err
		}
		if err != nil {
			return all, err
		}
		p.Data, p.Ethernet = append([]byte(nil), p.Data...), append([]byte(nil), p.Ethernet...)
		all = append(all, p)
	}
}

// concat returns the concatenation of its arguments.
func concat(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}
