package observe

import (
	"bytes"

	"github.com/ctexp/go-ctexp/internal/header"
)

// unsummed returns a packet without what differs between the host's own packet in the hooks and the same on the wire: the
// checksum of its transport header, which may be left to the link, and that of the IPv4 header with the time to live, which
// a router changes.
func unsummed(packet []byte) []byte {
	p := bytes.Clone(packet)
	v := header.Parse(p)
	l4 := v.Body(p)
	at, size := header.SumField(v.Proto, l4)
	clear(l4[at : at+size])
	if v.HasAddrs() {
		header.ClearHop(p)
	}
	return p
}
