package pcapfile

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gopacket/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Packet is one packet of a file.
type Packet struct {
	Time      time.Time // zero where the file has none
	Link      string    // name of the interface, "#0" where it has a number alone, "" where the file knows of one only
	Dir       Dir
	Src, Dst  nf.MAC // zero where the link layer has none
	VLAN      uint16 // the outermost tag's id; zero without
	Tags      []byte // all tags, from the outermost, four bytes each; like Data there until the next packet is read
	EtherType uint16 // what Data is; zero: nothing that has an EtherType
	Data      []byte // begins at the network layer, and is there until the next packet is read
	Length    int    // of Data when it was on the wire; more than there is if the recording cut it
}

// Dir is the direction of a packet as the host that recorded it saw it.
type Dir uint8

// The directions.
const (
	Unknown Dir = iota
	In
	Out
)

// maxPacket is the most that a recorded packet may have, as for libpcap (MAXIMUM_SNAPLEN).
const maxPacket = 262144

// record is a packet with its link layer.
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
	n    int
	err  error
}

const (
	magicSection = 0x0a0d0d0a // the same in both orders
	magicGzip    = 0x1f8b
)

// NewReader begins to read a file, whose format it recognises. What r has behind the end of the last packet that was read
// may be read as well.
func NewReader(r io.Reader) (*Reader, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	magic, err := b.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
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

// format recognises a file by its first four bytes.
func format(magic []byte) (func(*bufio.Reader) (func() (record, error), error), error) {
	if len(magic) < 4 {
		return nil, errTruncated
	}
	switch binary.BigEndian.Uint32(magic) {
	case 0xa1b2c3d4, 0xd4c3b2a1, 0xa1b23c4d, 0x4d3cb2a1: // microseconds and nanoseconds, in both orders
		return nextOfPcap, nil
	case magicSection:
		return nextOfPcapng, nil
	}
	if binary.BigEndian.Uint16(magic) == magicGzip {
		return nil, errors.New("it is compressed: read it through a gzip.Reader")
	}
	return nil, fmt.Errorf("it is neither pcap nor pcapng: it begins with %x", magic)
}

// Next returns the next packet, or io.EOF behind the last one. After an error there is nothing more to read.
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

// Number returns how many packets were read: the number of the last one, if they are counted from 1 as Wireshark does.
func (r *Reader) Number() int { return r.n }
