//go:build !linux

package ctexp

import (
	"context"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/ruleset"
)

func sendRaw(packet.Packet) error {
	return &nf.UnsupportedError{Need: "Linux", Hint: "conntrack is a part of the Linux kernel"}
}

func (*Lab) places(context.Context) ([]ruleset.Place, error) { return nil, sendRaw(nil) }

func (*Lab) isQueued(context.Context, uint16) error { return sendRaw(nil) }
