package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/mdlayher/netlink"
	"github.com/ti-mo/netfilter"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// errno is how a system call ended: "ok", or the name of its error.
func errno(err error) string {
	var n unix.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &n):
		return unix.ErrnoName(n)
	}
	return err.Error()
}

// sendRaw sends a packet with its IP header by a socket of IPPROTO_RAW.
func (l *lab) sendRaw(p packet.Packet) error {
	return l.sendBy(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW, p, &unix.SockaddrInet4{Addr: p.Tuple().Dst.Addr().As4()})
}

// ping sends an echo request from the host to the world by a socket of ICMP.
func (l *lab) ping() error {
	p := packet.Echo(host, world, 1, 1, nil)
	const header = 20
	return l.sendBy(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP, p[header:], &unix.SockaddrInet4{Addr: world.As4()})
}

// sendFrame sends a packet out of the first link by a packet socket, below all of netfilter.
func (l *lab) sendFrame(p packet.Packet) error {
	var index int
	l.b.must(l.Env.Do(func() error {
		link, err := net.InterfaceByName(l.Env.Links()[0].Name())
		if err == nil {
			index = link.Index
		}
		return err
	}))
	ipv4 := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_IP))
	return l.sendBy(unix.AF_PACKET, unix.SOCK_DGRAM, int(ipv4), p, &unix.SockaddrLinklayer{
		Protocol: ipv4, Ifindex: index, Halen: 6, Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	})
}

// sendBy sends by a socket of its own, and returns how the sending ended.
func (l *lab) sendBy(family, kind, proto int, b []byte, to unix.Sockaddr) (sent error) {
	l.b.must(l.Env.Do(func() error {
		fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, proto)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		defer unix.Close(fd)
		sent = unix.Sendto(fd, b, 0, to)
		return nil
	}))
	return sent
}

// setBacklog makes the queue of a listener longer than package net does.
func setBacklog(l net.Listener, n int) error {
	raw, err := l.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	var lerr error
	if err := raw.Control(func(fd uintptr) { lerr = unix.Listen(int(fd), n) }); err != nil {
		return err
	}
	return os.NewSyscallError("listen", lerr)
}

// askHeld sends SYNs into a queue that lets none of them go.
func askHeld(b *bench) fields {
	l := b.full(b.free)
	into := rule{at: manglePrerouting, proto: nf.TCP, dport: 80, then: queue}
	if err := l.tryLoad(into); err != nil {
		// nftables has its own expression for it, which many a kernel lacks, and iptables-nft goes by it.
		l.backend = iptablesLegacy
		l.load(into)
		b.note("that rule by %s: %s has no queue here", iptablesLegacy, b.backend)
	}
	q := openQueue(l)

	const often = 64
	held := 0
	i := 0
	l.inject(func(yield func(packet.Packet) bool) {
		for p := range packet.SYNs(b.packets, web) {
			if i++; i%often == 0 {
				held += q.drain(b)
			}
			if !yield(p) {
				return
			}
		}
	})
	held += q.drain(b)
	t := l.tally()
	listed := 0
	for e, err := range l.Observer.Flows(b.ctx, nf.Filter{}) {
		b.must(err)
		if !isEstablished(e) {
			listed++
		}
	}
	return append(fields{
		{"held", held}, {"dropped", int(t.Dropped)}, {"listed", listed}, {"counted", t.Entries},
	}, dice(t)...)
}

// packetQueue is the queue number 0 of a namespace.
type packetQueue struct {
	conn *netlink.Conn
	raw  syscall.RawConn
	buf  []byte
}

// The numbers of include/uapi/linux/netfilter/nfnetlink_queue.h that are needed.
const (
	msgPacket = 0 // NFQNL_MSG_PACKET
	msgConfig = 2 // NFQNL_MSG_CONFIG

	attrCommand = 1 // NFQA_CFG_CMD: struct nfqnl_msg_config_cmd
	attrParams  = 2 // NFQA_CFG_PARAMS: struct nfqnl_msg_config_params
	attrMaxLen  = 3 // NFQA_CFG_QUEUE_MAXLEN

	bind     = 1 // NFQNL_CFG_CMD_BIND
	copyMeta = 1 // NFQNL_COPY_META
)

// openQueue binds the queue until the end of the experiment; what it holds then is dropped.
func openQueue(l *lab) *packetQueue {
	q := &packetQueue{buf: make([]byte, 64<<10)}
	b := l.b
	b.must(l.Env.Do(func() (err error) {
		q.conn, err = netlink.Dial(unix.NETLINK_NETFILTER, nil)
		return err
	}))
	b.atEnd(q.conn.Close)
	var err error
	q.raw, err = q.conn.SyscallConn()
	b.must(err)
	for _, attr := range []netfilter.Attribute{
		{Type: attrCommand, Data: []byte{bind, 0, 0, unix.AF_INET}},
		{Type: attrParams, Data: append(binary.BigEndian.AppendUint32(nil, 0), copyMeta)},
		{Type: attrMaxLen, Data: netfilter.Uint32Bytes(uint32(b.packets))},
	} {
		msg, err := netfilter.MarshalNetlink(netfilter.Header{
			SubsystemID: netfilter.NFSubsysQueue, MessageType: msgConfig, Flags: netlink.Request | netlink.Acknowledge,
		}, []netfilter.Attribute{attr})
		b.must(err)
		if _, err := q.conn.Execute(msg); err != nil {
			b.must(fmt.Errorf("set up the packet queue: %w", err))
		}
	}
	return q
}

// drain counts the packets that have come into the queue since the last time.
func (q *packetQueue) drain(b *bench) (packets int) {
	var err error
	b.must(q.raw.Control(func(fd uintptr) {
		for {
			var n int
			n, _, err = unix.Recvfrom(int(fd), q.buf, unix.MSG_DONTWAIT)
			if err != nil {
				return
			}
			msgs, perr := syscall.ParseNetlinkMessage(q.buf[:n])
			if err = perr; err != nil {
				return
			}
			for _, m := range msgs {
				if m.Header.Type == uint16(netfilter.NFSubsysQueue)<<8|msgPacket {
					packets++
				}
			}
		}
	}))
	if !errors.Is(err, unix.EAGAIN) {
		b.must(err)
	}
	return packets
}
