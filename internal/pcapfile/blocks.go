package pcapfile

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// blocks hands the blocks of a pcapng file to pcapgo, which takes their lengths on trust: it passes on only those that are
// whole and whose contents fit into them, of the types that are of use, and none behind a packet until that was asked for.
type blocks struct {
	r          *bufio.Reader
	big        bool // the order of the present section
	interfaces int  // of the present section
	snap       uint32
	packet     bool // a block with a packet was handed on
	memory     bytes.Buffer
	rest       []byte // what of a block is not handed on yet
}

// The types of blocks (draft-ietf-opsawg-pcapng, 11.1) …
const (
	interfaceBlock = 1
	oldPacketBlock = 2
	simplePacket   = 3
	enhancedPacket = 6
)

// … and how long they may be: what is more is garbage.
const (
	minBlock      = 12
	maxBlock      = 1 << 20
	maxInterfaces = 1 << 16
)

// Read implements io.Reader. It returns bytes of one block only.
func (b *blocks) Read(p []byte) (int, error) {
	for len(b.rest) == 0 {
		if b.packet {
			return 0, errors.New("block: it ends before its contents do") // not what pcapgo expects of a block that fits
		}
		if err := b.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// next reads a block, and lets b.rest empty if it is of no use.
func (b *blocks) next() error {
	var head [minBlock]byte
	if _, err := io.ReadFull(b.r, head[:]); err != nil {
		return truncated(err) // io.EOF stays what it is
	}
	typ := b.order().Uint32(head[:])
	if typ == magicSection {
		if err := b.section(head[8:]); err != nil {
			return err
		}
	}
	length := b.order().Uint32(head[4:])
	if length < minBlock || length%4 != 0 {
		return fmt.Errorf("block of type %#x: length %d", typ, length)
	}
	switch typ {
	case magicSection, interfaceBlock, oldPacketBlock, simplePacket, enhancedPacket:
	default:
		return b.skip(head, typ, length)
	}
	if length > maxBlock {
		return fmt.Errorf("block of type %#x: length %d", typ, length)
	}
	b.memory.Reset()
	b.memory.Write(head[:])
	if _, err := io.CopyN(&b.memory, b.r, int64(length-minBlock)); err != nil {
		return atEnd(err)
	}
	block := b.memory.Bytes()
	if again := b.order().Uint32(block[length-4:]); again != length {
		return fmt.Errorf("block of type %#x: length %d at its front, %d at its end", typ, length, again)
	}
	if err := b.check(typ, block[8:length-4]); err != nil {
		return fmt.Errorf("block of type %#x: %w", typ, err)
	}
	b.rest = block
	return nil
}

// skip reads a block of no use.
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
		return fmt.Errorf("block of type %#x: length %d at its front, %d at its end", typ, length, again)
	}
	return nil
}

// atEnd is the error of a file that ends within a block.
func atEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return errTruncated
	}
	return err
}

func (b *blocks) order() binary.ByteOrder {
	if b.big {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// section begins a section, whose order its magic number tells.
func (b *blocks) section(magic []byte) error {
	switch uint32(0x1a2b3c4d) {
	case binary.BigEndian.Uint32(magic):
		b.big = true
	case binary.LittleEndian.Uint32(magic):
		b.big = false
	default:
		return fmt.Errorf("section header: byte-order magic %x", magic)
	}
	b.interfaces, b.snap = 0, 0
	return nil
}
