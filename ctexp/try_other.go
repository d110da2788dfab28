//go:build !linux

package ctexp

import (
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func sendRaw(packet.Packet) error {
	return &nf.UnsupportedError{Need: "Linux", Hint: "conntrack is a part of the Linux kernel"}
}
