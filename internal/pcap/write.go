package pcap

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/ctexp/go-ctexp/internal/plain"
)

// File describes a file as a whole.
type File struct {
	Links []string // names of the interfaces; without any, no packet can be written
	// Layer is the link-layer header of each packet. It is the same for all links, because libpcap, and with it tcpdump,
	// rejects other files.
	Layer Layer
}

// Layer is the kind of link-layer header in a file.
type Layer uint8

// The kinds of link-layer headers.
const (
	// Raw is no header: all packets must be IPv4 or IPv6 (LINKTYPE_RAW). libpcap 1.10 reads it in files of one link alone.
	Raw Layer = iota
	// Ethernet is the Ethernet header, which all packets must have (LINKTYPE_ETHERNET).
	Ethernet
	// Cooked is a header with the EtherType and, if known, parts of the Ethernet header (LINKTYPE_LINUX_SLL).
	Cooked
)

// Writer writes one file. It is not safe for concurrent use.
type Writer struct {
	to    *bufio.Writer
	layer Layer
	links map[string]uint32 // interface numbers by name
	n     int               // packets written
	block []byte            // memory for one
}

// writeBuffer is how much is written at once.
const writeBuffer = 32 << 10

// NewWriter begins a file.
func NewWriter(to io.Writer, f File) (*Writer, error) {
	w := &Writer{to: bufio.NewWriterSize(to, writeBuffer), layer: f.Layer, links: map[string]uint32{}}
	b := w.begin(magicSection)
	b = order.AppendUint32(b, 0x1a2b3c4d)
	b = order.AppendUint16(b, 1) // the version, 1.0
	b = order.AppendUint16(b, 0)
	b = order.AppendUint64(b, 1<<64-1) // the length of the section is not said
	b = appendOption(b, sectionWriter, "ctexp")
	if err := w.end(order.AppendUint32(b, optionEnd)); err != nil {
		return nil, fmt.Errorf("write pcapng: %w", err)
	}
	names := f.Links
	if len(names) == 0 { // some programs read no file without an interface
		names = []string{""}
	}
	for i, name := range names {
		if err := w.addInterface(text(name)); err != nil {
			return nil, fmt.Errorf("write pcapng: %w", err)
		}
		if len(f.Links) > 0 {
			w.links[name] = uint32(i)
		}
	}
	return w, nil
}

func (w *Writer) addInterface(name string) error {
	typ := linkTypeRaw
	switch w.layer {
	case Ethernet:
		typ = linkTypeEthernet
	case Cooked:
		typ = linkTypeCooked
	}
	b := order.AppendUint16(w.begin(interfaceBlock), uint16(typ))
	b = append(b, 0, 0)
	b = order.AppendUint32(b, 0) // packets of any length
	if name != "" {
		b = appendOption(b, interfaceName, name)
	}
	b = appendOption(b, interfaceUnit, string([]byte{nanoseconds}))
	return w.end(order.AppendUint32(b, optionEnd))
}

// Write appends a packet. It panics if there is no such link.
func (w *Writer) Write(p Packet) error {
	link, ok := w.links[p.Link]
	if !ok {
		panic(fmt.Sprintf("pcap: a packet of link %q, which the file does not have", p.Link))
	}
	w.n++
	ns := uint64(0)
	if p.Time.After(time.Unix(0, 0)) {
		ns = uint64(p.Time.UnixNano())
	}
	b := order.AppendUint32(w.begin(enhancedPacket), link)
	b = order.AppendUint32(b, uint32(ns>>32))
	b = order.AppendUint32(b, uint32(ns))
	lengths := len(b)
	b = order.AppendUint64(b, 0)
	data := len(b)
	switch w.layer {
	case Ethernet:
		b = append(b, p.Ethernet...)
	case Cooked:
		b = cookedHeader(b, p)
	}
	b = append(b, p.Data...)
	captured := len(b) - data
	order.PutUint32(b[lengths:], uint32(captured))
	order.PutUint32(b[lengths+4:], uint32(captured+max(0, p.Length-len(p.Data))))
	b = pad(b)
	options := len(b)
	if p.Comment != "" {
		b = appendOption(b, optionComment, text(p.Comment))
	}
	switch p.Dir {
	case In:
		b = appendOption(b, packetFlags, string([]byte{directionIn, 0, 0, 0}))
	case Out:
		b = appendOption(b, packetFlags, string([]byte{directionOut, 0, 0, 0}))
	}
	if len(b) > options {
		b = order.AppendUint32(b, optionEnd)
	}
	if err := w.end(b); err != nil {
		return fmt.Errorf("write pcapng: packet %d: %w", w.n, err)
	}
	return nil
}

// Flush writes all buffered data to the underlying writer. The file is complete after it.
func (w *Writer) Flush() error {
	if err := w.to.Flush(); err != nil {
		return fmt.Errorf("write pcapng: %w", err)
	}
	return nil
}

// order is the byte order of what is written.
var order = binary.LittleEndian

// begin returns the beginning of a block.
func (w *Writer) begin(typ uint32) []byte {
	return order.AppendUint32(order.AppendUint32(w.block[:0], typ), 0)
}

// end writes a block that is whole but for its lengths.
func (w *Writer) end(b []byte) error {
	length := uint32(len(b) + 4)
	order.PutUint32(b[4:], length)
	w.block = order.AppendUint32(b, length)
	_, err := w.to.Write(w.block)
	return err
}

// appendOption appends an option to a block.
func appendOption(b []byte, code uint16, value string) []byte {
	b = order.AppendUint16(b, code)
	b = order.AppendUint16(b, uint16(len(value)))
	return pad(append(b, value...))
}

// pad appends zeros to a block, up to a multiple of 32 bits.
func pad(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// Values in cooked headers (https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL.html; include/uapi/linux/if_arp.h).
const (
	sllToUs = 0
	sllByUs = 4 // PACKET_OUTGOING

	arphrdEther   = 1
	arphrdNetlink = 824
	arphrdVoid    = 0xffff // the link layer is unknown
)

// cookedHeader appends the header of a cooked packet to b: the direction, the sender's Ethernet address if it is known,
// and the EtherType. VLAN tags begin in the last field of the header, as in libpcap.
func cookedHeader(b []byte, p Packet) []byte {
	direction := uint16(sllToUs)
	if p.Dir == Out {
		direction = sllByUs
	}
	b = binary.BigEndian.AppendUint16(b, direction)
	if len(p.Ethernet) >= 14 {
		b = binary.BigEndian.AppendUint16(b, arphrdEther)
		b = append(b, 0, 6)
		b = append(b, p.Ethernet[6:12]...)
		return append(append(b, 0, 0), p.Ethernet[12:]...)
	}
	b = binary.BigEndian.AppendUint16(b, arphrdVoid)
	b = append(b, make([]byte, 2+8)...) // length of the address, address
	return binary.BigEndian.AppendUint16(b, p.EtherType)
}

// maxText is the maximum length of an option's value in bytes: the length field has 16 bits.
const maxText = 1<<16 - 1

const ellipsis = "…"

// text converts s to a valid option value that a terminal can show: UTF-8 without control characters, of which NUL ends the
// text for readers, and not too long.
func text(s string) string {
	s = plain.Text(s)
	if len(s) <= maxText {
		return s
	}
	n := maxText - len(ellipsis)
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + ellipsis
}
