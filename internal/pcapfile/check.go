package pcapfile

import (
	"errors"
	"fmt"
)

// check looks whether what a block says that it has fits into it; body is what is between its two lengths.
func (b *blocks) check(typ uint32, body []byte) error {
	fixed := map[uint32]int{magicSection: 16, interfaceBlock: 8, oldPacketBlock: 20, simplePacket: 4, enhancedPacket: 20}[typ]
	if len(body) < fixed {
		return fmt.Errorf("%d bytes, less than %d", len(body), fixed)
	}
	options := body[fixed:]
	switch typ {
	case interfaceBlock:
		if b.interfaces++; b.interfaces > maxInterfaces {
			return fmt.Errorf("more than %d interfaces", maxInterfaces)
		}
		if b.interfaces == 1 {
			b.snap = b.order().Uint32(body[4:])
		}
	case simplePacket:
		b.packet = true
		captured := b.order().Uint32(body)
		if b.snap != 0 {
			captured = min(captured, b.snap)
		}
		return fits(captured, options)
	case oldPacketBlock, enhancedPacket:
		b.packet = true
		captured, length := b.order().Uint32(body[12:]), b.order().Uint32(body[16:])
		if captured > length {
			return fmt.Errorf("%d bytes were recorded of %d", captured, length)
		}
		if err := fits(captured, options); err != nil {
			return err
		}
		options = options[(captured+3)&^3:]
		if typ == oldPacketBlock {
			return nil // pcapgo passes its options over
		}
	}
	return b.checkOptions(options)
}

// fits looks whether a packet of n bytes, padded to words, is there.
func fits(n uint32, b []byte) error {
	if n > maxPacket || int(n+3)&^3 > len(b) {
		return fmt.Errorf("a packet of %d bytes in %d", n, len(b))
	}
	return nil
}

// checkOptions looks whether a list of options ends where its block does, or before.
func (b *blocks) checkOptions(options []byte) error {
	for len(options) > 0 {
		if len(options) < 4 {
			return errors.New("half an option at its end")
		}
		code, n := b.order().Uint16(options), int(b.order().Uint16(options[2:]))
		if code == 0 {
			return nil
		}
		if n = (n + 3) &^ 3; n > len(options)-4 {
			return fmt.Errorf("an option of %d bytes in %d", n, len(options)-4)
		}
		options = options[4+n:]
	}
	return nil
}
