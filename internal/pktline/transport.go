package pktline

import "github.com/ctexp/go-ctexp/ctexp/nf"

// Transport returns the protocol that the packet b carries, and the bytes from its transport header up to the end that
// the network layer claims, as far as they are there. It returns nil bytes where there is no such header: a fragment
// that is not the first, headers that are cut or make no sense. The bytes are those of b.
func Transport(b []byte) (nf.Proto, []byte) {
	h, ok := parse(b)
	if !ok || h.later || h.body == nil {
		return h.proto, nil
	}
	return h.proto, h.body[:len(h.body):len(h.body)]
}
