package observe

import (
	"fmt"
	"io"

	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/pcapng"
)

// WritePcapng writes frames as a pcapng file, for Wireshark and tshark: in their order, with time, name of the link,
// direction and, where comment is not nil and does not return "", a comment (the packet's verdict, say). It calls
// comment once for each frame, one after the other.
//
// The packets have their header of Ethernet, with addresses and tags of VLANs, if all of them have one (link type EN10MB).
// They begin at the network layer if none has one and all are IP (RAW). In between, a header in front of every packet says
// what it is, with the sender's address and the tags where there are some (LINUX_SLL, as tcpdump -i any writes it). It is the
// same for all links because libpcap, and tcpdump with it, refuses files where it is not.
func WritePcapng(w io.Writer, frames []Frame, comment func(Frame) string) error {
	var file pcapng.File
	links := map[string]int{}
	for _, f := range frames {
		if _, ok := links[f.Link]; !ok {
			links[f.Link] = len(file.Links)
			file.Links = append(file.Links, f.Link)
		}
	}
	file.Layer = layerOf(frames)
	to, err := pcapng.NewWriter(w, file)
	if err != nil {
		return fmt.Errorf("frames: %w", err)
	}
	for _, f := range frames {
		p := pcapng.Packet{Time: f.Time, Link: links[f.Link], Out: f.Dir == Out, EtherType: f.EtherType, Ethernet: f.Ethernet, Data: f.Packet}
		if comment != nil {
			p.Comment = comment(f)
		}
		if err := to.Write(p); err != nil {
			return fmt.Errorf("frames: %w", err)
		}
	}
	if err := to.Flush(); err != nil {
		return fmt.Errorf("frames: %w", err)
	}
	return nil
}

// layerOf returns the link layer of a file for these frames.
func layerOf(frames []Frame) pcapng.Layer {
	without, ip := 0, true
	for _, f := range frames {
		if len(f.Ethernet) < header.EthernetSize {
			without++
		}
		ip = ip && f.ip() != nil
	}
	switch {
	case without == 0 && len(frames) > 0:
		return pcapng.Ethernet
	case without == len(frames) && ip:
		return pcapng.Raw
	}
	return pcapng.Cooked
}
