package pcap

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// File describes a file as a whole.
type File struct {
	Links []string // the names of the interfaces that packets go over; without any the file can only stay empty
	// Layer is what stands in front of each packet. It is the same for all links because libpcap, and tcpdump with it,
	// refuses files where it is not.
	Layer Layer
}

// Layer is what stands in front of the packets of a file.
type Layer uint8

// The layers.
const (
	// Raw is nothing: all packets must be IPv4 or IPv6, which their first bits tell apart (LINKTYPE_RAW).
	Raw Layer = iota
	// Ethernet is the header of Ethernet, which all packets must have (LINKTYPE_ETHERNET).
	Ethernet
	// Cooked is a header that says what the packet is, and as much of that of Ethernet as is known (LINKTYPE_LINUX_SLL).
	Cooked
)

// Writer writes one file. It is not for several goroutines.
type Writer struct {
	ng     *pcapgo.NgWriter
	layer  Layer
	links  map[string]int // the numbers of the File's
	n      int
	memory []byte // for one packet
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
	if len(f.Links) > 0 { // else there is one without a name, which the library writes in any case
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

// Flush hands all that was written to the underlying writer. A file is whole after it.
func (w *Writer) Flush() error {
	if err := w.ng.Flush(); err != nil {
		return fmt.Errorf("write pcapng: %w", err)
	}
	return nil
}

// What LINKTYPE_LINUX_SLL has in its fields (https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL.html).
const (
	sllToUs = 0
	sllByUs = 4

	arphrdEther = 1      // include/uapi/linux/if_arp.h
	arphrdVoid  = 0xffff // likewise, ARPHRD_VOID: nothing is known of the link layer
)

// cookedHeader appends the header of a cooked packet to b: the direction, the sender's address of Ethernet where it is
// known, and what the packet is. Tags of VLANs stand where libpcap puts them, from the last field of the header on.
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

// maxText is the longest value of an option in bytes: its length has 16 bits.
const maxText = 1<<16 - 1

const ellipsis = "…"

// text makes s fit for an option: UTF-8 without a NUL, at which readers stop, and not too long.
func text(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "\uFFFD"), "\uFFFD")
	if len(s) <= maxText {
		return s
	}
	n := maxText - len(ellipsis)
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + ellipsis
}
