package peer_test

import (
	"context"
	"errors"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/packettest"
)

var web, web6 = packettest.Web, packettest.Web6

// link is a Link that takes every packet and cannot be read.
type link struct {
	fence error
}

func (*link) Name() string                    { return "fake0" }
func (*link) MTU() int                        { return 1500 }
func (*link) L2() bool                        { return false }
func (*link) Read([]byte) (int, error)        { return 0, errors.ErrUnsupported }
func (*link) SetReadDeadline(time.Time) error { return errors.ErrUnsupported }
func (*link) Write(b []byte) (int, error)     { return len(b), nil }
func (l *link) Fence(context.Context) error   { return l.fence }

var mixed = packet.Flow{Src: web.Src, Dst: web6.Dst}
