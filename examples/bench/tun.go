//go:build linux

package main

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// openTun opens a tun in an Env that the Env knows nothing about, and returns its descriptor.
func openTun(b *bench, e *netnsenv.Env, name string) int {
	needTun(b)
	fd := -1
	b.must(e.Do(func() (err error) {
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
		req, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
			return err
		}
		sock, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(sock)
		req.SetUint16(unix.IFF_UP)
		return unix.IoctlIfreq(sock, unix.SIOCSIFFLAGS, req)
	}))
	b.later(func() { _ = unix.Close(fd) })
	return fd
}

// writeLoop returns the shortest loop that sends packets of new flows: one packet whose source port and checksum change, and
// write(2).
func writeLoop(b *bench, e *netnsenv.Env) func() amount {
	const port, sum = 20, 36 // the offsets in a packet without options
	fd, p := openTun(b, e, "bare"), packet.SYN(web)
	first := web.Src.Port()
	without := uint32(^binary.BigEndian.Uint16(p[sum:])) + uint32(^first) // RFC 1624
	return func() amount {
		for i := range packets {
			src := first + uint16(i)
			binary.BigEndian.PutUint16(p[port:], src)
			s := without + uint32(src)
			s = s>>16 + s&0xffff
			s = s>>16 + s&0xffff
			binary.BigEndian.PutUint16(p[sum:], ^uint16(s))
			if _, err := unix.Write(fd, p); err != nil {
				b.must(err)
			}
		}
		return done(packets)
	}
}
