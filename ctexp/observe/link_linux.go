package observe

import (
	"encoding/binary"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// linkName returns the name of the link with this index in the namespace of the socket fd, or "if7" if it is gone.
func linkName(fd int, index int32) string {
	ifr, err := unix.NewIfreq("")
	if err == nil {
		ifr.SetUint32(uint32(index))
		err = unix.IoctlIfreq(fd, unix.SIOCGIFNAME, ifr)
	}
	if err != nil {
		return fmt.Sprintf("if%d", index)
	}
	return ifr.Name()
}

// linkIndex returns the index of a link in the namespace of the socket fd.
func linkIndex(fd int, name string) (int32, error) {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr); err != nil {
		return 0, fmt.Errorf("index of link %q: %w", name, err)
	}
	return int32(ifr.Uint32()), nil
}

// timestamp returns the time in the control messages of a datagram; where there is none, now.
func timestamp(control []byte) time.Time {
	for len(control) > 0 {
		h, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			break
		}
		if h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_TIMESTAMPNS {
			switch len(data) {
			case 16:
				return time.Unix(int64(binary.NativeEndian.Uint64(data)), int64(binary.NativeEndian.Uint64(data[8:])))
			case 8: // 32-bit machines
				return time.Unix(int64(int32(binary.NativeEndian.Uint32(data))), int64(binary.NativeEndian.Uint32(data[4:])))
			}
		}
		control = rest
	}
	return time.Now()
}
