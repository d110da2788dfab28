package observe

import (
	"fmt"
	"io"

	"github.com/ctexp/go-ctexp/internal/pcapng"
)

// WritePcapng writes frames as a pcapng file, for Wireshark and tshark: in their order, with time, name of the link,
// direction and, where comment is not nil and does not return "", a comment (the packet's verdict, say). It calls
// comment once for each frame, one after the other.
//
// The packets begin at the network layer (link type RAW) unless one of the frames is no IP: then a header in front of
// every packet says what it is (LINUX_SLL, as tcpdump -i any writes it).
func WritePcapng(w io.Writer, frames []Frame, comment func(Frame) string) error {
	var file pcapng.File
	links := map[string]int{}
	for _, f := range frames {
		if _, ok := links[f.Link]; !ok {
			links[f.Link] = len(file.Links)
			file.Links = append(file.Links, f.Link)
		}
		file.Cooked = file.Cooked || f.ip() == nil
	}
	to, err := pcapng.NewWriter(w, file)
	if err != nil {
		return fmt.Errorf("frames: %w", err)
	}
	for _, f := range frames {
		p := pcapng.Packet{Time: f.Time, Link: links[f.Link], Out: f.Dir == Out, EtherType: f.EtherType, Data: f.Packet}
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
