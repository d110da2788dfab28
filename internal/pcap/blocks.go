package pcap

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"time"
)

// blocks reads the blocks of a pcapng file (draft-ietf-opsawg-pcapng).
type blocks struct {
	r          *bufio.Reader
	big        bool            // the current section is big-endian
	interfaces []interfaceInfo // of the current section
	memory     bytes.Buffer    // the current block
}

// interfaceInfo is what an interface block says.
type interfaceInfo struct {
	linkType linkType
	name     string // "#0" if it has none
	snap     uint32 // the longest packet in bytes; zero: any
	second   uint64 // units of time in a second
	offset   uint64 // seconds to add to a time, modulo 2^64
}

// Block types (11.1).
const (
	interfaceBlock = 1
	oldPacketBlock = 2
	simplePacket   = 3
	enhancedPacket = 6
)

// Codes of options; one of packets may have the same as one of interfaces (3.5, 4.2, 4.3).
const (
	optionEnd        = 0
	optionComment    = 1
	packetFlags      = 2
	interfaceName    = 2
	interfaceUnit    = 9
	interfaceOffset  = 14
	sectionWriter    = 4
	directionBits    = 3
	directionIn      = 1
	directionOut     = 2
	nanoseconds      = 9 // a value of interfaceUnit
	usualUnit        = 6 // microseconds
	unitIsPowerOfTwo = 1 << 7
)

// Limits of blocks. Anything beyond them is garbage.
const (
	minBlock      = 12
	maxBlock      = 1 << 20
	maxInterfaces = 1 << 16
)

// nextOfPcapng reads the first section header of a pcapng file and returns a function that reads the next packet.
func nextOfPcapng(r *bufio.Reader) (func() (record, error), error) {
	b := &blocks{r: r}
	typ, body, err := b.next()
	if err == nil {
		_, _, err = b.read(typ, body)
	}
	if err != nil {
		return nil, err
	}
	return b.packet, nil
}

// packet reads up to the next packet, whose data is valid until the one after it is read.
func (b *blocks) packet() (record, error) {
	for {
		typ, body, err := b.next()
		if err != nil {
			return record{}, err
		}
		if rec, ok, err := b.read(typ, body); ok || err != nil {
			return rec, err
		}
	}
}

// next reads a block and returns what is between its two lengths; nil if its type is not needed.
func (b *blocks) next() (typ uint32, body []byte, err error) {
	var head [minBlock]byte
	if _, err := io.ReadFull(b.r, head[:]); err != nil {
		return 0, nil, truncated(err) // io.EOF is returned unchanged
	}
	typ = b.order().Uint32(head[:])
	if typ == magicSection {
		if err := b.section(head[8:]); err != nil {
			return 0, nil, err
		}
	}
	length := b.order().Uint32(head[4:])
	if length < minBlock || length%4 != 0 {
		return 0, nil, fmt.Errorf("block of type %#x: length %d", typ, length)
	}
	switch typ {
	case magicSection, interfaceBlock, oldPacketBlock, simplePacket, enhancedPacket:
	default:
		return typ, nil, b.skip(head, typ, length)
	}
	if length > maxBlock {
		return 0, nil, fmt.Errorf("block of type %#x: length %d", typ, length)
	}
	b.memory.Reset()
	b.memory.Write(head[:])
	if _, err := io.CopyN(&b.memory, b.r, int64(length-minBlock)); err != nil {
		return 0, nil, atEnd(err)
	}
	block := b.memory.Bytes()
	if again := b.order().Uint32(block[length-4:]); again != length {
		return 0, nil, errLengths(typ, length, again)
	}
	return typ, block[8 : length-4], nil
}

// skip reads a block that is not needed.
func (b *blocks) skip(head [minBlock]byte, typ, length uint32) error {
	end := [4]byte(head[8:])
	if length > minBlock {
		if _, err := b.r.Discard(int(length - minBlock - 4)); err != nil {
			return atEnd(err)
		}
		if _, err := io.ReadFull(b.r, end[:]); err != nil {
			return atEnd(truncated(err))
		}
	}
	if again := b.order().Uint32(end[:]); again != length {
		return errLengths(typ, length, again)
	}
	return nil
}

// errLengths returns the error about a block whose two lengths differ.
func errLengths(typ, front, end uint32) error {
	return fmt.Errorf("block of type %#x: length %d at its front, %d at its end", typ, front, end)
}

func (b *blocks) order() binary.ByteOrder {
	if b.big {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// section begins a section. Its magic number determines the byte order.
func (b *blocks) section(magic []byte) error {
	switch uint32(0x1a2b3c4d) {
	case binary.BigEndian.Uint32(magic):
		b.big = true
	case binary.LittleEndian.Uint32(magic):
		b.big = false
	default:
		return fmt.Errorf("section header: byte-order magic %x", magic)
	}
	b.interfaces = b.interfaces[:0]
	return nil
}

// read reads the body of a block; ok says whether it has a packet.
func (b *blocks) read(typ uint32, body []byte) (rec record, ok bool, err error) {
	n := fixedSize(typ)
	if len(body) < n {
		return record{}, false, fmt.Errorf("block of type %#x: %d bytes, want at least %d", typ, len(body), n)
	}
	head, rest := body[:n], body[n:]
	switch typ {
	case magicSection:
		err = b.readSection(head, rest)
	case interfaceBlock:
		err = b.readInterface(head, rest)
	case simplePacket:
		rec, err = b.readSimple(head, rest)
		ok = true
	case oldPacketBlock: // its options are ignored
		rec, _, err = b.readPacket(int(b.order().Uint16(head)), head, rest)
		ok = true
	case enhancedPacket:
		rec, err = b.readEnhanced(head, rest)
		ok = true
	}
	if err != nil {
		return record{}, false, fmt.Errorf("block of type %#x: %w", typ, err)
	}
	return rec, ok, nil
}

// fixedSize returns the size of what is in front of the options and the packet of a block.
func fixedSize(typ uint32) int {
	switch typ {
	case magicSection:
		return 16
	case interfaceBlock:
		return 8
	case simplePacket:
		return 4
	case oldPacketBlock, enhancedPacket:
		return 20
	}
	return 0
}

func (b *blocks) readSection(head, options []byte) error {
	// Some programs have written 1.2, which does not differ (4.1).
	if major, minor := b.order().Uint16(head[4:]), b.order().Uint16(head[6:]); major != 1 || minor != 0 && minor != 2 {
		return fmt.Errorf("pcapng of version %d.%d: want 1.0", major, minor)
	}
	return b.eachOption(options, func(uint16, []byte) {})
}

func (b *blocks) readInterface(head, options []byte) error {
	n := len(b.interfaces)
	if n == maxInterfaces {
		return fmt.Errorf("more than %d interfaces", maxInterfaces)
	}
	i := interfaceInfo{linkType: linkType(b.order().Uint16(head)), snap: b.order().Uint32(head[4:])}
	unit := byte(usualUnit)
	err := b.eachOption(options, func(code uint16, value []byte) {
		switch {
		case code == interfaceName:
			i.name = string(value)
		case code == interfaceUnit && len(value) > 0:
			unit = value[0]
		case code == interfaceOffset && len(value) >= 8:
			i.offset = b.order().Uint64(value)
		}
	})
	if err != nil {
		return err
	}
	if i.name == "" {
		i.name = fmt.Sprintf("#%d", n)
	}
	if i.second, err = unitsInSecond(unit); err != nil {
		return err
	}
	b.interfaces = append(b.interfaces, i)
	return nil
}

// unitsInSecond returns how many units of time are in a second: a power of ten or, with the highest bit, of two (4.2).
func unitsInSecond(unit byte) (uint64, error) {
	exponent := unit &^ unitIsPowerOfTwo
	if unit&unitIsPowerOfTwo != 0 && exponent < 64 {
		return 1 << exponent, nil
	}
	if unit&unitIsPowerOfTwo != 0 || exponent > 19 {
		return 0, fmt.Errorf("times in units of %#x: too small", unit)
	}
	n := uint64(1)
	for range exponent {
		n *= 10
	}
	return n, nil
}

// time returns the time of a packet.
func (i *interfaceInfo) time(units uint64) time.Time {
	hi, lo := bits.Mul64(units%i.second, uint64(time.Second))
	ns, _ := bits.Div64(hi, lo, i.second)
	return time.Unix(int64(units/i.second+i.offset), int64(ns)).UTC()
}

func (b *blocks) readSimple(head, rest []byte) (record, error) {
	rec, from, err := b.of(0)
	if err != nil {
		return record{}, err
	}
	length := b.order().Uint32(head)
	captured := length
	if from.snap != 0 {
		captured = min(captured, from.snap)
	}
	rec.length = int(length)
	rec.data, _, err = split(captured, rest)
	return rec, err
}

func (b *blocks) readEnhanced(head, rest []byte) (record, error) {
	rec, options, err := b.readPacket(int(b.order().Uint32(head)), head, rest)
	if err != nil {
		return record{}, err
	}
	return rec, b.eachOption(options, func(code uint16, value []byte) {
		if code != packetFlags || len(value) < 4 {
			return
		}
		switch b.order().Uint32(value) & directionBits {
		case directionIn:
			rec.dir = In
		case directionOut:
			rec.dir = Out
		}
	})
}

// readPacket reads what is the same in both blocks that have a time.
func (b *blocks) readPacket(number int, head, rest []byte) (rec record, options []byte, err error) {
	rec, from, err := b.of(number)
	if err != nil {
		return record{}, nil, err
	}
	word := func(at int) uint32 { return b.order().Uint32(head[at:]) }
	captured := word(12)
	rec.time = from.time(uint64(word(4))<<32 | uint64(word(8)))
	rec.length = int(max(captured, word(16))) // some programs write less
	rec.data, options, err = split(captured, rest)
	return rec, options, err
}

// of returns a record of an interface of the section.
func (b *blocks) of(number int) (record, *interfaceInfo, error) {
	if number >= len(b.interfaces) {
		return record{}, nil, fmt.Errorf("a packet of interface %d; the section has %d", number, len(b.interfaces))
	}
	i := &b.interfaces[number]
	return record{link: i.name, linkType: i.linkType}, i, nil
}

// split returns the n bytes of a packet, which are padded to 32 bits, and what is behind them.
func split(n uint32, b []byte) (data, rest []byte, err error) {
	if n > maxPacket || int(n+3)&^3 > len(b) {
		return nil, nil, fmt.Errorf("a packet of %d bytes in %d bytes", n, len(b))
	}
	return b[:n:n], b[(n+3)&^3:], nil
}

// eachOption calls f with each option. An option that does not fit into its block is an error.
func (b *blocks) eachOption(options []byte, f func(code uint16, value []byte)) error {
	for len(options) > 0 {
		if len(options) < 4 {
			return errors.New("a truncated option at its end")
		}
		code, n := b.order().Uint16(options), int(b.order().Uint16(options[2:]))
		if code == optionEnd {
			if n > 0 {
				return fmt.Errorf("an end of options of %d bytes", n)
			}
			return nil
		}
		padded := (n + 3) &^ 3
		if padded > len(options)-4 {
			return fmt.Errorf("an option of %d bytes in %d bytes", padded, len(options)-4)
		}
		f(code, options[4:4+n])
		options = options[4+padded:]
	}
	return nil
}
