package main

import (
	"net"
	"net/netip"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// errnoRows are about what programs see of a full table.
var errnoRows = []row{
	{
		id:      "udp-eperm",
		claim:   "sendto of a new UDP flow on a full table gives EPERM",
		article: fields{{"unconnected", "EPERM"}, {says, "you will get EPERM. Beware"}},
		verdict: confirmed,
		why:     "a flow that has its entry goes on",
		full:    true,
		ask:     askUDP,
		expect: func(q question) expectations {
			return expectations{{"unconnected", "EPERM"}, {"connected", "EPERM"}, {"established_flow", "ok"}, {"dropped", 2}, {"evicted", 0}}
		},
	},
	{
		id:      "output-drop-eperm",
		claim:   "… and so it does behind a DROP in OUTPUT",
		article: fields{{"udp", "EPERM"}, {says, "write(3, \"X\", 1) = -1 EPERM"}},
		verdict: confirmed,
		why:     "whoever drops at output, the sender is told EPERM",
		ask: func(b *bench) fields {
			l := b.open(plain(), rule{at: filterOutput, then: drop})
			return fields{
				{"udp", errno(l.sendUDP("53"))}, {"icmp", errno(l.ping())},
				{"raw", errno(l.sendRaw(packet.SYN(fromHost)))},
			}
		},
		expect: func(q question) expectations {
			return expectations{{"udp", "EPERM"}, {"icmp", "EPERM"}, {"raw", "EPERM"}}
		},
	},
	{
		id:      "raw-eperm",
		claim:   "… and so it does for raw sockets, so that the experiment's packets must come in by a tun",
		article: fields{{"raw_socket", "EPERM"}, {says, "[send_ip] sendto: Operation not permitted"}},
		verdict: confirmed,
		why:     "a packet socket bypasses netfilter",
		full:    true,
		ask: func(b *bench) fields {
			l := b.full(0)
			got := fields{
				{"raw_socket", errno(l.sendRaw(packet.SYN(web)))}, {"icmp", errno(l.ping())},
				{"packet_socket", errno(l.sendFrame(packet.SYN(fromHost)))},
			}
			return append(got, dice(l.tally())...)
		},
		expect: func(q question) expectations {
			return expectations{{"raw_socket", "EPERM"}, {"icmp", "EPERM"}, {"packet_socket", "ok"}}
		},
	},
}

// fromHost is a flow that the host itself begins.
var fromHost = packet.Flow{Src: netip.AddrPortFrom(host, 20000), Dst: netip.AddrPortFrom(world, 80)}

// sendUDP sends a datagram to a port of the world by a socket that is not connected.
func (l *lab) sendUDP(port string) error {
	c, err := l.Env.ListenPacket(l.b.ctx, "udp4", host.String()+":0")
	l.b.must(err)
	defer c.Close()
	to := netip.MustParseAddrPort(world.String() + ":" + port)
	_, err = c.WriteTo([]byte("X"), net.UDPAddrFromAddrPort(to))
	return err
}

func askUDP(b *bench) fields {
	l := b.full(1)
	// The last free entry is for a flow that gets its answer.
	known, err := l.Env.Dial(b.ctx, "udp4", world.String()+":1053")
	b.must(err)
	defer known.Close()
	_, err = known.Write([]byte("X"))
	b.must(err)
	local := netip.MustParseAddrPort(known.LocalAddr().String())
	l.inject(packet.Packets(packet.Flow{Src: netip.AddrPortFrom(world, 1053), Dst: local}.UDP([]byte("Y"))))
	// Only after two seconds would it be assured, and until then it might be evicted for a new flow by chance.
	orig := nf.Tuple{Proto: nf.UDP, Src: local, Dst: netip.AddrPortFrom(world, 1053)}
	b.must(l.Env.Table().Update(nf.Entry{Orig: orig, Reply: orig.Reverse(), Status: nf.Confirmed | nf.SeenReply | nf.Assured}))

	fresh, err := l.Env.Dial(b.ctx, "udp4", world.String()+":53")
	b.must(err)
	defer fresh.Close()
	unconnected := l.sendUDP("53")
	_, connected := fresh.Write([]byte("X"))
	_, again := known.Write([]byte("Z"))
	t := l.tally()
	return append(fields{
		{"unconnected", errno(unconnected)}, {"connected", errno(connected)}, {"established_flow", errno(again)},
		{"dropped", int(t.Dropped)},
	}, dice(t)...)
}
