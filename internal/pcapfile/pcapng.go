package pcapfile

import (
	"bufio"
	"fmt"

	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// nextOfPcapng reads the first section's header of a pcapng file and returns what reads its packets.
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

// direction returns what the flags of a packet say. pcapgo takes them for little-endian in any file, and keeps the high half
// of the word as errors of the link layer: where the file is big-endian the direction is in there.
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
