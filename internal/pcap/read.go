// Package pcap reads and writes recordings of packets: a Reader reads the formats pcap and pcapng, a Writer writes
// pcapng.
//
// It does both itself: pcapgo of google/gopacket neither reads nor writes the comments and flags of packets, and does not check
// lengths. That of gopacket/gopacket does, but a program would then link the decoders of all protocols twice; the tests read by it
// what a Writer has written.
package pcap

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

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
	linkType linkType
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

// errTruncated is the error of a file that ends within a packet or a header.
var errTruncated = fmt.Errorf("the file is truncated: %w", io.ErrUnexpectedEOF)

// truncated returns errTruncated for io.ErrUnexpectedEOF, and other errors unchanged.
func truncated(err error) error {
	if err == io.ErrUnexpectedEOF {
		return errTruncated
	}
	return err
}

// atEnd returns errTruncated for io.EOF within a block, and other errors unchanged.
func atEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return errTruncated
	}
	return err
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
