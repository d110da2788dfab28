package pcap

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

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
	// Raw is no header: all packets must be IPv4 or IPv6 (LINKTYPE_RAW).
	Raw Layer = iota
	// Ethernet is the Ethernet header, which all packets must have (LINKTYPE_ETHERNET).
	Ethernet
	// Cooked is a header with the EtherType and, if known, parts of the Ethernet header (LINKTYPE_LINUX_SLL).
	Cooked
)

// Writer writes one file. It is not safe for concurrent use.
type Writer struct {
	ng     *pcapgo.NgWriter
	layer  Layer
	links  map[string]int // interface numbers by name
	n      int            // packets written
	memory []byte         // buffer for one packet
}

// NewWriter begins a file.
func NewWriter(to io.Writer, f File) (*Writer, error) {
	link := pcapgo.NgInterface{LinkType: layers.LinkTypeRaw}
	switch f.Layer {
	case Ethernet:
		link.LinkType = layers.LinkTypeEthernet
	case Cooked:
		link.LinkType = layers.LinkTypeLinuxSLL
	}
	if len(f.Links) > 0 { // pcapgo always writes one interface; without links it has no name
		link.Name = text(f.Links[0])
	}
	ng, err := pcapgo.NewNgWriterInterface(to, link, pcapgo.NgWriterOptions{
		SectionInfo: pcapgo.NgSectionInfo{Application: "ctexp"},
	})
	for i := 1; i < len(f.Links) && err == nil; i++ {
		link.Name = text(f.Links[i])
		_, err = ng.AddInterface(link)
	}
	if err != nil {
		return nil, fmt.Errorf("write pcapng: %w", err)
	}
	w := &Writer{ng: ng, layer: f.Layer, links: map[string]int{}}
	for i, name := range f.Links {
		w.links[name] = i
	}
	return w, nil
}

// Write appends a packet. It panics if there is no such link.
func (w *Writer) Write(p Packet) error {
	link, ok := w.links[p.Link]
	if !ok {
		panic(fmt.Sprintf("pcap: a packet of link %q, which the file does not have", p.Link))
	}
	w.n++
	data := p.Data
	switch w.layer {
	case Ethernet:
		w.memory = append(append(w.memory[:0], p.Ethernet...), p.Data...)
		data = w.memory
	case Cooked:
		w.memory = append(cookedHeader(w.memory[:0], p), p.Data...)
		data = w.memory
	}
	at := p.Time
	if epoch := time.Unix(0, 0); at.Before(epoch) {
		at = epoch
	}
	var options pcapgo.NgPacketOptions
	switch p.Dir {
	case In:
		options.Flags = &pcapgo.NgEpbFlags{Direction: pcapgo.NgEpbFlagDirectionInbound}
	case Out:
		options.Flags = &pcapgo.NgEpbFlags{Direction: pcapgo.NgEpbFlagDirectionOutbound}
	}
	if p.Comment != "" {
		options.Comments = []string{text(p.Comment)}
	}
	err := w.ng.WritePacketWithOptions(gopacket.CaptureInfo{
		Timestamp: at, CaptureLength: len(data), Length: len(data) + max(0, p.Length-len(p.Data)), InterfaceIndex: link,
	}, data, options)
	if err != nil {
		return fmt.Errorf("write pcapng: packet %d: %w", w.n, err)
	}
	return nil
}

// Flush writes all buffered data to the underlying writer. The file is complete after it.
func (w *Writer) Flush() error {
	if err := w.ng.Flush(); err != nil {
		return fmt.Errorf("write pcapng: %w", err)
	}
	return nil
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
