//go:build linux

package main

import (
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// The segments of a connection, whose first bytes have the numbers 1001 and 5001. The window is 65535 bytes.
func client(flags packet.TCPFlags, seq, ack uint32, payload ...byte) packet.Packet {
	return question.TCP(packet.TCP{Flags: flags, Seq: seq, Ack: ack, Payload: payload})
}

func server(flags packet.TCPFlags, seq, ack uint32, payload ...byte) packet.Packet {
	return question.Reverse().TCP(packet.TCP{Flags: flags, Seq: seq, Ack: ack, Payload: payload})
}

const window uint32 = 65535

// below and beyond are numbers out of any window that contains another one.
func below(n uint32) uint32  { return n - 2*window }
func beyond(n uint32) uint32 { return n + 3*window }

// established is a connection of which both sides have acknowledged, and then more.
func established(more ...packet.Packet) []packet.Packet {
	return slices.Concat([]packet.Packet{
		client(packet.FlagSYN, 1000, 0),
		server(packet.FlagSYN|packet.FlagACK, 5000, 1001),
		client(packet.FlagACK, 1001, 5001),
		server(packet.FlagACK, 5001, 1001),
	}, more)
}

const tcpSource = "nf_conntrack_proto_tcp.c, "

var tcpCorners = []corner{
	{
		ID: "rst-first", Asks: "class of an RST that belongs to no connection", Source: tcpSource + "tcp_new",
		ask: classOf(client(packet.FlagRST, 1000, 0)).between(),
	},
	{
		ID: "seq-under", Asks: "class of a segment below the lower bound", Source: tcpSource + "tcp_in_window",
		ask: classOf(established(client(packet.FlagACK, below(1001), 5001, 'x'))...).between(),
	},
	{
		ID: "seq-next-window", Asks: "class of a segment that begins up to one window beyond the upper bound", Source: tcpSource + "tcp_in_window",
		ask: classOf(established(client(packet.FlagACK, 1001+window+100, 5001, 'x'))...).between(),
	},
	{
		ID: "seq-over", Asks: "class of a segment further beyond the upper bound", Source: tcpSource + "tcp_in_window",
		ask: classOf(established(client(packet.FlagACK, beyond(1001), 5001, 'x'))...).between(),
	},
	{
		ID: "ack-over", Asks: "class of an ACK beyond what was sent", Source: tcpSource + "tcp_in_window",
		ask: classOf(established(client(packet.FlagACK, 1001, 5001+1000))...).between(),
	},
	{
		ID: "ack-under", Asks: "class of an ACK below the lower bound", Source: tcpSource + "tcp_in_window",
		ask: classOf(established(client(packet.FlagACK, 1001, below(5001)))...).between(),
	},
	{
		ID: "two-fins-out", Asks: "entry after a FIN out of the window of each side", Source: tcpSource + "nf_tcp_handle_invalid",
		ask: entryAfter(established(
			client(packet.FlagFIN|packet.FlagACK, beyond(1001), 5001),
			server(packet.FlagFIN|packet.FlagACK, beyond(5001), 1001))...).between(),
	},
	{
		ID: "rst-inexact", Asks: "entry after an RST in the window, but not exactly at its beginning", Source: tcpSource + "nf_conntrack_tcp_packet",
		ask: entryAfter(established(client(packet.FlagRST|packet.FlagACK, 1101, 5001))...).between(),
	},
	{
		ID: "rst-exact", Asks: "entry after an RST exactly at the beginning of the window", Source: tcpSource + "nf_conntrack_tcp_packet",
		ask: entryAfter(established(client(packet.FlagRST|packet.FlagACK, 1001, 5001))...).between(),
	},
	{
		ID: "rst-own-syn", Asks: "entry after a simultaneous open and an RST of the end that sent the last SYN", Source: tcpSource + "nf_conntrack_tcp_packet",
		ask: entryAfter(
			client(packet.FlagSYN, 1000, 0),
			server(packet.FlagSYN, 5000, 0),
			server(packet.FlagRST|packet.FlagACK, 5000, 0)).between(),
	},
	{
		ID: "rst-challenge", Asks: "entry after a SYN, a challenge ACK of the server, and the client's RST with the number of that ACK",
		Source: tcpSource + "nf_conntrack_tcp_packet",
		ask: entryAfter(
			client(packet.FlagSYN, 1000, 0),
			server(packet.FlagACK, 9000, 777),
			client(packet.FlagRST, 777, 0)).between(),
	},
	{
		ID: "synack-old", Asks: "class of a SYN+ACK that acknowledges another SYN", Source: tcpSource + "tcp_in_window",
		ask: classOf(client(packet.FlagSYN, 1000, 0), server(packet.FlagSYN|packet.FlagACK, 5000, beyond(1001))).between(),
	},
	{
		ID: "synack-old-entry", Asks: "entry after a SYN+ACK that acknowledges another SYN", Source: tcpSource + "tcp_in_window",
		ask: entryAfter(client(packet.FlagSYN, 1000, 0), server(packet.FlagSYN|packet.FlagACK, 5000, beyond(1001))).between(),
	},
	{
		ID: "syn-again", Asks: "entry after a SYN of the client in ESTABLISHED", Source: tcpSource + "nf_conntrack_tcp_packet",
		ask: entryAfter(established(client(packet.FlagSYN, 2000, 0))...).between(),
	},
}
