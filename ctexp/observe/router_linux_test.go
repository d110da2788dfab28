package observe_test

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// captured returns the frames so far.
func (l lab) captured() []packet.Record {
	l.Helper()
	var frames []packet.Record
	for f, err := range l.o.Frames(l.Context()) {
		if err != nil {
			l.Fatal(err)
		}
		frames = append(frames, f)
	}
	return frames
}

// router forwards between a client behind tun0 and a server behind tun1.
func router() netnsenv.Config {
	return netnsenv.Config{
		Links: []netnsenv.LinkConfig{
			{Prefixes: prefixes("198.18.0.1/24")},
			{Prefixes: prefixes("192.0.2.254/24")},
		},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
		Silent:  true,
	}
}

// sendBy injects packets by the link with that name.
func (l lab) sendBy(link string, packets ...packet.Packet) {
	l.Helper()
	if _, err := inject.New(l.env.Link(link)).Send(l.Context(), packet.Packets(packets...)); err != nil {
		l.Fatal(err)
	}
}

// talk injects each packet by the link of its source.
func (l lab) talk(packets ...packet.Packet) {
	l.Helper()
	for _, p := range packets {
		link := "tun0"
		if p.Tuple().Src.Addr() == web.Dst.Addr() {
			link = "tun1"
		}
		l.sendBy(link, p)
	}
}

// The packets of a connection, given by flags, sequence numbers and payload length.
func client(flags packet.TCPFlags, seq, ack uint32, n int) packet.Packet {
	return web.TCP(packet.TCP{Flags: flags, Seq: seq, Ack: ack, Window: 1000, Payload: make([]byte, n)})
}

func server(flags packet.TCPFlags, seq, ack uint32, n int) packet.Packet {
	return web.Reverse().TCP(packet.TCP{Flags: flags, Seq: seq, Ack: ack, Window: 1000, Payload: make([]byte, n)})
}

const (
	syn = packet.FlagSYN
	ack = packet.FlagACK
	rst = packet.FlagRST
	fin = packet.FlagFIN
	psh = packet.FlagPSH
	urg = packet.FlagURG
)

// handshake opens a connection with sequence numbers 1000 and 5000 and windows of 1000 bytes.
var handshake = []packet.Packet{
	client(syn, 1000, 0, 0), server(syn|ack, 5000, 1001, 0), client(ack, 1001, 5001, 0),
}

// with returns packets and one more.
func with(packets []packet.Packet, p packet.Packet) []packet.Packet {
	return append(packets[:len(packets):len(packets)], p)
}

// damaged returns p with the bytes from offset on replaced, and truncated to n bytes unless n is zero.
func damaged(p packet.Packet, n, offset int, b ...byte) packet.Packet {
	p = append(packet.Packet(nil), p...)
	copy(p[offset:], b)
	if n > 0 {
		p = p[:n]
		binary.BigEndian.PutUint16(p[2:], uint16(n))
	}
	return headerSum(p)
}

// headerSum sets the correct checksum of the IPv4 header.
func headerSum(p packet.Packet) packet.Packet {
	p[10], p[11] = 0, 0
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(p[10:], ^uint16(sum))
	return p
}

// icmp returns an ICMP message from the client's side to the server.
func icmp(from, to netip.Addr, typ, code uint8, payload []byte) packet.Packet {
	p, err := packet.Build(
		&layers.IPv4{TTL: 64, Protocol: layers.IPProtocolICMPv4, SrcIP: from.AsSlice(), DstIP: to.AsSlice()},
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(typ, code)},
		gopacket.Payload(payload),
	)
	if err != nil {
		panic(err)
	}
	return p
}
