package observe

import (
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/pcap"
)

// WritePcapng writes frames as a pcapng file for Wireshark and tshark, in their order, with time, link name and
// direction. If comment is not nil, it is called once for each frame, one after the other, and what it returns
// becomes the comment of the packet unless it is "".
//
// If all packets have an Ethernet header, they have it in the file, with addresses and VLAN tags (link type EN10MB).
// If none has one, all are IP and of one link, they begin at the network layer (RAW). Otherwise each packet is preceded by a
// header with its protocol, the sender's address and VLAN tags if there are any (LINUX_SLL, as tcpdump -i any writes
// it). All links have the same type because libpcap, and with it tcpdump, rejects files in which they differ; and libpcap 1.10
// rejects several that are RAW, since it compares that type, 101 in files, with its own number, 12 (sf-pcapng.c, pcap_ng_next_packet).
func WritePcapng(w io.Writer, frames []packet.Record, comment func(packet.Record) string) error {
	return writePcapng(w, slices.Values(frames), comment)
}

// writePcapng is WritePcapng for a sequence, which it iterates three times.
func writePcapng(w io.Writer, frames iter.Seq[packet.Record], comment func(packet.Record) string) error {
	var file pcap.File
	for f := range frames {
		if !slices.Contains(file.Links, f.Link) {
			file.Links = append(file.Links, f.Link)
		}
	}
	if file.Layer = layerOf(frames); file.Layer == pcap.Raw && len(file.Links) > 1 {
		file.Layer = pcap.Cooked
	}
	to, err := pcap.NewWriter(w, file)
	if err != nil {
		return fmt.Errorf("frames: %w", err)
	}
	for f := range frames {
		p := pcap.Packet{
			Time: f.Time, Link: f.Link, Dir: pcap.Dir(f.Dir), EtherType: f.EtherType, Ethernet: f.Ethernet, Data: f.Packet, Length: f.Length,
		}
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

// layerOf returns the link layer of a file with these frames.
func layerOf(frames iter.Seq[packet.Record]) pcap.Layer {
	all, without, ip := 0, 0, true
	for f := range frames {
		all++
		if len(f.Ethernet) < header.EthernetSize {
			without++
		}
		ip = ip && f.IsIP()
	}
	switch {
	case without == 0 && all > 0:
		return pcap.Ethernet
	case without == all && ip:
		return pcap.Raw
	}
	return pcap.Cooked
}

// rawFrame is a frame as the kernel delivers it, in memory that is reused.
type rawFrame struct {
	time      time.Time
	link      int32  // index; zero in a ring while the kernel still writes the frame
	protocol  uint16 // EtherType
	hardware  uint16 // the type of the link (include/uapi/linux/if_arp.h)
	direction uint8  // PACKET_OUTGOING and others (include/uapi/linux/if_packet.h)
	bytes     []byte // from the link-layer header on
	network   int    // offset of the packet in bytes
	vlanTag
	missing int // bytes at the end of the packet that were not captured, as far as that is known
}

// vlanTag is the outermost VLAN tag, which the kernel keeps beside the frame.
type vlanTag struct {
	tagged    bool
	tpid, tci uint16
}

// tagOf returns the tag of a frame with this status.
func tagOf(status uint32, tpid, tci uint16) vlanTag {
	switch {
	case status&tpStatusVLAN == 0:
		return vlanTag{}
	case status&tpStatusTPID == 0:
		tpid = header.EtherTypeVLAN
	}
	return vlanTag{true, tpid, tci}
}

// Bits of the frame status (include/uapi/linux/if_packet.h, TP_STATUS_VLAN_VALID and TP_STATUS_VLAN_TPID_VALID).
const (
	tpStatusVLAN = 1 << 4
	tpStatusTPID = 1 << 6
)

// Types of links with an Ethernet header (include/uapi/linux/if_arp.h); that of loopback is all zeros.
const (
	arphrdEther    = 1
	arphrdLoopback = 772
)

// parts returns the Ethernet header including the tag that the kernel removed from it (net/core/skbuff.c,
// skb_vlan_untag), the EtherType and the packet. The header is nil for links without one.
func (r rawFrame) parts() (ethernet []byte, typ uint16, packet []byte) {
	network := min(r.network, len(r.bytes))
	if r.hardware != arphrdEther && r.hardware != arphrdLoopback || len(r.bytes) < header.EthernetSize {
		return nil, r.protocol, r.bytes[network:]
	}
	b := r.bytes
	if r.tagged {
		tag := binary.BigEndian.AppendUint16(nil, r.tpid)
		b = slices.Concat(b[:12], binary.BigEndian.AppendUint16(tag, r.tci), b[12:])
	}
	f := header.ParseFrame(b)
	if f.Cut {
		return b[:header.EthernetSize], r.protocol, b[header.EthernetSize:]
	}
	return b[:f.Payload], f.EtherType, b[f.Payload:]
}

// stamps distinguishes kernel time stamps from read times. The kernel starts to time-stamp packets for all sockets of
// the host when the first socket requests it, but some milliseconds later (net/core/dev.c, net_enable_timestamp,
// defers it to a work queue). A packet that arrived before gets the time at which it is read (net/socket.c,
// __sock_recv_timestamp), which is later than its effects. Once the kernel time-stamps, it continues as long as the
// socket is open.
type stamps struct {
	on    bool
	empty time.Time // when the socket buffer was last empty
}

// of returns the time of a packet that was received by a call which began at the time read: its stamp, or if that is
// a read time, the latest time at which the packet had certainly not arrived yet, so that it sorts before its
// effects.
func (s *stamps) of(stamp, read time.Time) time.Time {
	if s.on || stamp.Before(read) {
		s.on = true
		return stamp
	}
	return s.empty
}

// The layout of a TPACKET_V3 block (include/uapi/linux/if_packet.h, struct tpacket_block_desc and tpacket_hdr_v1).
const (
	blockStatus  = 8
	blockPackets = 12
	blockFirst   = 16
	blockHeader  = 48
)

// The layout of a frame in a block (struct tpacket3_hdr, followed by a struct sockaddr_ll).
const (
	frameNext    = 0
	frameSec     = 4
	frameNsec    = 8
	frameSnaplen = 12
	frameLen     = 16
	frameStatus  = 20
	frameMAC     = 24
	frameNet     = 26
	frameTCI     = 32
	frameTPID    = 36
	frameHeader  = 48

	llProtocol = frameHeader + 2
	llIfindex  = frameHeader + 4
	llHatype   = frameHeader + 8
	llPkttype  = frameHeader + 10
	frameLLEnd = frameHeader + 20
)

// nextFrame returns the offset of the frame with this index in a block; at is the offset of the frame before it.
func nextFrame(block []byte, index, at int) (int, error) {
	if len(block) < blockHeader {
		return 0, fmt.Errorf("ring block of %d bytes: shorter than its header", len(block))
	}
	next := uint64(binary.NativeEndian.Uint32(block[blockFirst:]))
	if index > 0 {
		if at < 0 || at+frameLLEnd > len(block) {
			return 0, fmt.Errorf("ring frame %d at offset %d of %d", index-1, at, len(block))
		}
		step := uint64(binary.NativeEndian.Uint32(block[at+frameNext:]))
		if step == 0 {
			return 0, fmt.Errorf("ring frame %d at offset %d says that it is the last one", index-1, at)
		}
		next = uint64(at) + step
	}
	if next+frameLLEnd > uint64(len(block)) {
		return 0, fmt.Errorf("ring frame %d would begin at offset %d of %d", index, next, len(block))
	}
	return int(next), nil
}

// parseFrame returns the frame at an offset that nextFrame returned. Its packet is a slice of the block.
func parseFrame(block []byte, at int) (rawFrame, error) {
	b := block[at:]
	begin, n := int(binary.NativeEndian.Uint16(b[frameMAC:])), binary.NativeEndian.Uint32(b[frameSnaplen:])
	network := int(binary.NativeEndian.Uint16(b[frameNet:]))
	if network < begin || uint64(begin)+uint64(n) > uint64(len(b)) {
		return rawFrame{}, fmt.Errorf("ring frame at offset %d: %d bytes at %d, with a packet at %d, do not fit into %d",
			at, n, begin, network, len(b))
	}
	return rawFrame{
		time: time.Unix(int64(binary.NativeEndian.Uint32(b[frameSec:])), int64(binary.NativeEndian.Uint32(b[frameNsec:]))),
		link: int32(binary.NativeEndian.Uint32(b[llIfindex:])),
		// sll_protocol is in network byte order.
		protocol:  binary.BigEndian.Uint16(b[llProtocol:]),
		hardware:  binary.NativeEndian.Uint16(b[llHatype:]),
		direction: b[llPkttype],
		bytes:     b[begin:][:n:n],
		network:   network - begin,
		vlanTag: tagOf(binary.NativeEndian.Uint32(b[frameStatus:]),
			binary.NativeEndian.Uint16(b[frameTPID:]), uint16(binary.NativeEndian.Uint32(b[frameTCI:]))),
		missing: int(max(n, binary.NativeEndian.Uint32(b[frameLen:])) - n),
	}, nil
}

// lostFrames counts missing frames.
type lostFrames struct {
	beyond uint64 // frames beyond the limit
	cut    uint64 // frames that are stored, but were larger than the receive buffer
	kernel uint64 // frames that the kernel dropped because its buffer was full
}

// String says how many are missing and why.
func (l lostFrames) String() string {
	var s []string
	for _, why := range []struct {
		n    uint64
		what string
	}{
		{l.kernel, "found the kernel's buffer full"},
		{l.beyond, "exceeded the limit of the Config"},
		{l.cut, "are truncated"},
	} {
		if why.n > 0 {
			s = append(s, fmt.Sprintf("%d %s", why.n, why.what))
		}
	}
	return strings.Join(s, ", ")
}
