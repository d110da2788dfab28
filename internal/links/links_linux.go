// Package links translates between the names and the indexes of links, in the namespace of a socket.
package links

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Names caches the names of links by their index, each as it was when it was first needed. Index 0 is no link and has no
// name.
type Names map[int32]string

// Name returns the name of a link in the namespace of the socket fd: "if7" if the link no longer exists.
func (n Names) Name(fd int, index int32) string {
	if index == 0 {
		return ""
	}
	if name, ok := n[index]; ok {
		return name
	}
	ifr, err := unix.NewIfreq("")
	if err == nil {
		ifr.SetUint32(uint32(index))
		err = unix.IoctlIfreq(fd, unix.SIOCGIFNAME, ifr)
	}
	name := fmt.Sprintf("if%d", index)
	if err == nil {
		name = ifr.Name()
	}
	n[index] = name
	return name
}

// Index returns the index of a link in the namespace of the socket fd.
func Index(fd int, name string) (uint32, error) {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr); err != nil {
		return 0, os.NewSyscallError("SIOCGIFINDEX", err)
	}
	return ifr.Uint32(), nil
}
