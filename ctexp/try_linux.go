package ctexp

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// sendRaw sends a packet with its header from a raw socket in the namespace of the calling thread. A protocol of IPPROTO_RAW
// means that the header is included, for both families (net/ipv4/af_inet.c, inet_create; net/ipv6/af_inet6.c, inet6_create).
func sendRaw(p packet.Packet) error {
	family, dst := unix.AF_INET, p.Tuple().Dst.Addr()
	if nf.FamilyOf(dst) == nf.IPv6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	var to unix.Sockaddr
	switch {
	case !dst.IsValid():
		return fmt.Errorf("%v has no destination", p)
	case family == unix.AF_INET:
		to = &unix.SockaddrInet4{Addr: dst.As4()}
	default:
		to = &unix.SockaddrInet6{Addr: dst.As16()}
	}
	err = unix.Sendto(fd, p, 0, to)
	if errors.Is(err, unix.EPERM) { // a rule of output dropped it (net/netfilter/core.c, nf_hook_slow)
		return nil
	}
	return os.NewSyscallError("sendto", err)
}
