// Package pcap reads and writes recordings of packets: a Reader reads the formats pcap and pcapng, a Writer writes
// pcapng.
//
// For pcapng it uses pcapgo of gopacket/gopacket, because that of google/gopacket cannot write the comments and flags of packets.
// pcapgo does not check lengths, so a Reader checks each pcapng block first; see blocks.
package pcap

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// Packet is one packet of a file.
type Packet struct {
	// Time is the time of capture; zero if the file has none. A Writer writes a time before 1970, such as zero, as 1970.
	Time time.Time
	// Link is the name of the interface; "#0" if the file has only its number, "" if the format has no interfaces. A Writer
	// accepts only the names in File.Links.
	Link string
	// Dir is the direction. A Writer omits Unknown, except in the header of a Cooked file.
	Dir Dir
	// EtherType is the protocol of Data; zero if it has no EtherType.
	EtherType uint16
	// Ethernet is the Ethernet header with its tags; nil if the link layer is another. For a cooked packet it has only the
	// sender's address and the tags; the destination is zero. It is valid until the next packet is read.
	Ethernet []byte
	// Data begins with the network header. It is valid until the next packet is read.
	Data []byte
	// Length is the length of Data on the wire, which is more than len(Data) if the recording is truncated. A Writer takes
	// len(Data) if Length is less.
	Length int
	// Comment is the packet's comment, without one empty. A Reader does not return it.
	Comment string
}

// Dir is the direction of a packet as seen by the capturing host.
type Dir uint8

// The directions.
const (
	Unknown Dir = iota
	In
	Out
)

// maxPacket is the maximum length of a captured packet in bytes, as in libpcap (MAXIMUM_SNAPLEN).
const maxPacket = 262144

// record is a packet with its link-layer header.
type record struct {
	time     time.Time
	link     string
	linkType layers.LinkType
	dir      Dir
	data     []byte
	length   int
}

// Reader reads one file.
type Reader struct {
	next func() (record, error)
	n    int   // packets read
	err  error // the error that ended the reading
}

const (
	magicSection = 0x0a0d0d0a // the same in both byte orders
	magicGzip    = 0x1f8b
)

// compressed are the first bytes of files that other programs have compressed.
var compressed = map[uint16]string{0x28b5: "zstd", 0x425a: "bzip2", 0xfd37: "xz", 0x504b: "zip"}

// NewReader returns a Reader for a file of either format, which may be compressed by gzip. It buffers, so that it may read from r more than the packets
// returned.
func NewReader(r io.Reader) (*Reader, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	magic, err := b.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(magic) == 0 {
		return nil, fmt.Errorf("the file is empty: %w", io.ErrUnexpectedEOF)
	}
	if len(magic) >= 2 && binary.BigEndian.Uint16(magic) == magicGzip {
		unpacked, err := gzip.NewReader(b)
		if err != nil {
			return nil, atEnd(truncated(err))
		}
		b = bufio.NewReaderSize(unpacked, 64<<10)
		if magic, err = b.Peek(4); err != nil && !errors.Is(err, io.EOF) {
			return nil, atEnd(truncated(err))
		}
	}
	open, err := format(magic)
	if err != nil {
		return nil, err
	}
	next, err := open(b)
	if err != nil {
		return nil, err
	}
	return &Reader{next: next}, nil
}

// format returns the function that opens a file, by the file's first four bytes.
func format(magic []byte) (func(*bufio.Reader) (func() (record, error), error), error) {
	if len(magic) < 4 {
		return nil, errTruncated
	}
	switch binary.BigEndian.Uint32(magic) {
	case magicMicro, 0xd4c3b2a1, magicNano, 0x4d3cb2a1, magicPatch, 0x34cdb2a1: // in both byte orders
		return nextOfPcap, nil
	case magicSection:
		return nextOfPcapng, nil
	}
	if other := compressed[binary.BigEndian.Uint16(magic)]; other != "" {
		return nil, fmt.Errorf("it is compressed by %s: unpack it first; only gzip is read as it is", other)
	}
	return nil, fmt.Errorf("it is neither pcap nor pcapng: it begins with %x", magic)
}

// Next returns the next packet, or io.EOF after the last one. After an error it returns the same error again.
func (r *Reader) Next() (Packet, error) {
	if r.err != nil {
		return Packet{}, r.err
	}
	rec, err := r.next()
	if err == nil {
		r.n++
		var p Packet
		if p, err = rec.packet(); err == nil {
			return p, nil
		}
	}
	r.err = err
	return Packet{}, err
}

// Number returns the number of packets read so far. This is the number of the last packet, counted from 1 as in
// Wireshark.
func (r *Reader) Number() int { return r.n }

// errTruncated wraps io.ErrUnexpectedEOF, because pcapgo takes that error itself at the start of a block for the end of
// the file.
var errTruncated = fmt.Errorf("the file is truncated: %w", io.ErrUnexpectedEOF)

// truncated returns errTruncated for io.ErrUnexpectedEOF, and other errors unchanged.
func truncated(err error) error {
	if err == io.ErrUnexpectedEOF {
		return errTruncated
	}
	return err
}

// nextOfPcapng reads the first section header of a pcapng file and returns a function that reads the next packet.
func nextOfPcapng(b *bufio.Reader) (func() (record, error), error) {
	from := &blocks{r: b}
	r, err := pcapgo.NewNgReader(from, pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err != nil {
		return nil, truncated(err)
	}
	return func() (record, error) {
		from.packet = false
		data, ci, options, err := r.ZeroCopyReadPacketDataWithOptions()
		if err != nil {
			return record{}, truncated(err)
		}
		link, err := r.Interface(ci.InterfaceIndex)
		if err != nil {
			return record{}, err
		}
		if link.Name == "" {
			link.Name = fmt.Sprintf("#%d", ci.InterfaceIndex)
		}
		linkType, _ := ci.AncillaryData[0].(layers.LinkType)
		return record{
			time: ci.Timestamp, link: link.Name, linkType: linkType, dir: direction(options.Flags, from.big),
			data: data, length: ci.Length,
		}, nil
	}, nil
}

// direction returns the direction in the flags of a packet. pcapgo always reads them as little-endian, and returns the
// upper half as link-layer errors: in a big-endian file, that is where the direction is.
func direction(flags *pcapgo.NgEpbFlags, big bool) Dir {
	if flags == nil {
		return Unknown
	}
	bits := flags.Direction
	if big {
		bits = flags.LinkLayerErr >> 24 & pcapgo.NgEpbFlagDirectionMask
	}
	switch bits {
	case pcapgo.NgEpbFlagDirectionInbound:
		return In
	case pcapgo.NgEpbFlagDirectionOutbound:
		return Out
	}
	return Unknown
}

// blocks is an io.Reader that passes the blocks of a pcapng file to pcapgo, which does not check lengths. It passes on
// only complete blocks whose contents fit into them, only of the types that are needed, and none behind a packet before
// the next one is requested.
type blocks struct {
	r          *bufio.Reader
	big        bool   // the current section is big-endian
	interfaces int    // number of interfaces of the current section
	snap       uint32 // snap length of its first interface
	packet     bool   // a block with a packet was passed on
	memory     bytes.Buffer
	rest       []byte // the rest of the current block
}

// Block types (draft-ietf-opsawg-pcapng, 11.1).
const (
	interfaceBlock = 1
	oldPacketBlock = 2
	simplePacket   = 3
	enhancedPacket = 6
)

// Limits of blocks. Anything beyond them is garbage.
const (
	minBlock      = 12
	maxBlock      = 1 << 20
	maxInterfaces = 1 << 16
)

// Read implements io.Reader. It returns bytes of only one block.
func (b *blocks) Read(p []byte) (int, error) {
	for len(b.rest) == 0 {
		if b.packet {
			return 0, errors.New("block: it ends before its contents do") // pcapgo reads on although the block was checked
		}
		if err := b.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// next reads a block into b.rest, which stays empty if the block is not needed.
func (b *blocks) next() error {
	var head [minBlock]byte
	if _, err := io.ReadFull(b.r, head[:]); err != nil {
		return truncated(err) // io.EOF is returned unchanged
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
		return errLengths(typ, length, again)
	}
	if err := b.check(typ, block[8:length-4]); err != nil {
		return fmt.Errorf("block of type %#x: %w", typ, err)
	}
	b.rest = block
	return nil
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

// atEnd returns errTruncated for io.EOF within a block, and other errors unchanged.
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
	b.interfaces, b.snap = 0, 0
	return nil
}

// check returns an error if the contents of a block do not fit into it. body is what is between its two lengths.
func (b *blocks) check(typ uint32, body []byte) error {
	fixed := map[uint32]int{magicSection: 16, interfaceBlock: 8, oldPacketBlock: 20, simplePacket: 4, enhancedPacket: 20}[typ]
	if len(body) < fixed {
		return fmt.Errorf("%d bytes, want at least %d", len(body), fixed)
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
		if captured > length { // as some programs write it; pcapgo refuses it
			b.order().PutUint32(body[16:], captured)
		}
		if err := fits(captured, options); err != nil {
			return err
		}
		options = options[(captured+3)&^3:]
		if typ == oldPacketBlock {
			return nil // pcapgo ignores its options
		}
	}
	return b.checkOptions(options)
}

// fits returns an error if a packet of n bytes, padded to 32 bits, does not fit into b.
func fits(n uint32, b []byte) error {
	if n > maxPacket || int(n+3)&^3 > len(b) {
		return fmt.Errorf("a packet of %d bytes in %d bytes", n, len(b))
	}
	return nil
}

// checkOptions returns an error if a list of options does not fit into its block.
func (b *blocks) checkOptions(options []byte) error {
	for len(options) > 0 {
		if len(options) < 4 {
			return errors.New("a truncated option at its end")
		}
		code, n := b.order().Uint16(options), int(b.order().Uint16(options[2:]))
		if code == 0 {
			return nil
		}
		if n = (n + 3) &^ 3; n > len(options)-4 {
			return fmt.Errorf("an option of %d bytes in %d bytes", n, len(options)-4)
		}
		options = options[4+n:]
	}
	return nil
}

// take removes n bytes from the front of Data and returns them. If there are fewer, it removes all and returns nil.
func (p *Packet) take(n int) []byte {
	if len(p.Data) < n {
		p.Length -= len(p.Data)
		p.Data = nil
		return nil
	}
	b := p.Data[:n]
	p.Data = p.Data[n:]
	p.Length -= n
	return b
}

func (p *Packet) ethernet() {
	frame := p.Data
	if h := p.take(header.EthernetSize); h != nil {
		tags := p.protocol(header.OuterType(h))
		p.Ethernet = frame[:header.EthernetSize+len(tags)]
		p.inner()
	}
}

// protocol sets the EtherType to what is behind the tags of virtual networks, which it takes away and returns, each behind
// the type in front of it.
func (p *Packet) protocol(t uint16) (tags []byte) {
	f := header.ParseTags(t, p.Data)
	tags = p.take(f.Payload)
	if f.Cut {
		p.Length -= len(p.Data)
		p.Data = nil
	} else if f.EtherType >= header.MinEtherType {
		p.EtherType = f.EtherType
	}
	return tags
}

// cooked reads the header of LINKTYPE_LINUX_SLL.
func (p *Packet) cooked() {
	if h := p.take(16); h != nil {
		word := func(at int) uint16 { return binary.BigEndian.Uint16(h[at:]) }
		p.cookedFields(word(0), word(2), h[6:6+min(8, word(4))], word(14))
	}
}

// cooked2 reads the header of LINKTYPE_LINUX_SLL2.
func (p *Packet) cooked2() {
	if h := p.take(20); h != nil {
		p.Link = fmt.Sprintf("#%d", binary.BigEndian.Uint32(h[4:]))
		p.cookedFields(uint16(h[10]), binary.BigEndian.Uint16(h[8:]), h[12:12+min(8, h[11])], binary.BigEndian.Uint16(h))
	}
}

// cookedFields notes what the header of a cooked packet says: the type of the packet (PACKET_OUTGOING and others), the kind
// of the link, the sender's address, and the protocol.
func (p *Packet) cookedFields(typ, kind uint16, sender []byte, protocol uint16) {
	if p.Dir == Unknown {
		p.Dir = In
		if typ == sllByUs {
			p.Dir = Out
		}
	}
	var tags []byte
	if kind != arphrdNetlink {
		tags = p.protocol(protocol)
	}
	var src nf.MAC
	if len(sender) == len(src) {
		src = nf.MAC(sender)
	} else if len(tags) == 0 {
		return
	}
	p.Ethernet = append(make([]byte, len(src), header.EthernetSize+len(tags)), src[:]...)
	p.Ethernet = append(binary.BigEndian.AppendUint16(p.Ethernet, protocol), tags...)
}

// byVersion sets the EtherType from the IP version.
func (p *Packet) byVersion() {
	if v := header.Version(p.Data); v == 4 || v == 6 {
		p.EtherType = header.EtherTypeOf(p.Data)
	}
}

// unpad removes the padding behind an IP packet. A length field that is less than a header's is ignored: it is zero if
// the network card was to segment a large packet, and in a jumbogram.
func (p *Packet) unpad() {
	v := header.Parse(p.Data)
	if !v.HasAddrs() || p.EtherType != header.EtherTypeOf(p.Data) || v.Length < header.IPv4Size || v.Length == header.IPv6Size && v.Version == 6 {
		return
	}
	if v.Length < p.Length {
		p.Length = v.Length
		p.Data = p.Data[:min(v.Length, len(p.Data))]
	}
}
