package observe

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// How values are written. Each takes data of any length.

func hexadecimal(b []byte) string { return fmt.Sprintf("0x%x", b) }

// number is in the order of the network, as in headers.
func number(b []byte) string {
	var v uint64
	for _, x := range b[:min(len(b), 8)] {
		v = v<<8 | uint64(x)
	}
	return fmt.Sprint(v)
}

func hostUint(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.NativeEndian.Uint16(b))
	case 4:
		return uint64(binary.NativeEndian.Uint32(b))
	case 8:
		return binary.NativeEndian.Uint64(b)
	}
	return 0
}

func hostNumber(b []byte) string      { return fmt.Sprint(hostUint(b)) }
func hostHexadecimal(b []byte) string { return fmt.Sprintf("0x%x", hostUint(b)) }

func text(b []byte) string { return fmt.Sprintf("%q", strings.TrimRight(string(b), "\x00")) }

func protocol(b []byte) string {
	if len(b) != 1 {
		return hexadecimal(b)
	}
	return nf.Proto(b[0]).String()
}

func family(b []byte) string {
	if len(b) != 1 {
		return hexadecimal(b)
	}
	return nf.Family(b[0]).String()
}

func ctState(b []byte) string {
	if s := nf.CTState(hostUint(b)).String(); s != "" {
		return s
	}
	return hostHexadecimal(b)
}

func ctStatus(b []byte) string {
	if s := nf.Status(hostUint(b)).String(); s != "" {
		return strings.ToLower(s)
	}
	return hostHexadecimal(b)
}

// address prints an IP address; of fewer bytes, the prefix that they are.
func address(b []byte) string {
	if a, ok := netip.AddrFromSlice(b); ok {
		return a.String()
	}
	if len(b) == 0 || len(b) > 4 {
		return hexadecimal(b)
	}
	var whole [4]byte
	copy(whole[:], b)
	return fmt.Sprintf("%v/%d", netip.AddrFrom4(whole), len(b)*8)
}

func tcpFlags(b []byte) string {
	if len(b) != 1 || b[0] == 0 {
		return hexadecimal(b)
	}
	var names []string
	for i, name := range []string{"fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"} {
		if b[0]&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

func isZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// ones returns how many bits of a mask are set.
func ones(mask []byte) int {
	n := 0
	for _, x := range mask {
		n += bits.OnesCount8(x)
	}
	return n
}

// isPrefix reports whether o is an address cut to a prefix.
func isPrefix(o operand) bool {
	if !strings.HasSuffix(o.name, "addr") {
		return false
	}
	n := ones(o.mask)
	for i, x := range o.mask {
		if want := byte(0xff << (8 - min(8, max(0, n-8*i)))); x != want {
			return false
		}
	}
	return true
}
