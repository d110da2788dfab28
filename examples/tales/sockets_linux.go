package main

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"

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
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		return err
	}
	var lerr error
	if err := raw.Control(func(fd uintptr) { lerr = unix.Listen(int(fd), n) }); err != nil {
		return err
	}
	return os.NewSyscallError("listen", lerr)
}

// kernelRelease is what uname -r prints.
func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown" // cannot be
	}
	release, _, _ := strings.Cut(string(u.Release[:]), "\x00")
	return release
}
