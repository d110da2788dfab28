package inject

import (
	"context"
	"time"
)

// Link is what an Injector writes to: one link of a host under test, seen from outside. *netnsenv.Link is one.
// Its methods may be called by several goroutines at once.
type Link interface {
	// Name returns the name of the interface that the host sees.
	Name() string
	// MTU returns the largest packet that fits, in bytes from the network layer.
	MTU() int
	// L2 reports whether the host sees frames of Ethernet. Packets are written and read without that header in any case.
	L2() bool
	// Read returns the next packet that left by the link, from the network layer on.
	Read(b []byte) (int, error)
	// Write hands one packet, from the network layer on, to the host. It does not keep b.
	Write(b []byte) (int, error)
	// SetReadDeadline bounds Read as in package net.
	SetReadDeadline(t time.Time) error
	// Fence returns when the host is done with every packet that was written before, so that counters, table and
	// capture are final. Packets that were lost before the host began with them are an error.
	Fence(ctx context.Context) error
}
