package inject

import (
	"encoding/binary"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// places says where a packet has what a Remap or a Flood changes, and the checksums over it. To find them and to change
// what is there takes no memory.
type places struct {
	header.View
	ports        bool // the transport header begins with ports
	sum, sumSize int  // checksum of the transport header; size 0: there is none
	optional     bool // zero means that there is no checksum
	pseudo       bool // the checksum covers the addresses, too, and can be corrected by what changes in them
}

// placesOf reports false where p has no network header that the kernel takes.
func placesOf(p []byte) (pl places, ok bool) {
	v := header.Parse(p)
	if !v.HasHeader() {
		return places{}, false
	}
	pl = places{View: v}
	l4 := v.Body(p)
	if len(l4) == 0 {
		return pl, true
	}
	pl.ports = nf.Proto(v.Proto).HasPorts() && len(l4) >= 4
	at, size := header.SumField(v.Proto, l4)
	pl.sum, pl.sumSize = v.Transport+at, size
	pl.pseudo = size == 2 && header.CoversAddrs(v.Proto)
	pl.optional = v.Proto == header.ProtoUDP && v.Version == 4
	return pl, true
}

// addr returns the address of p that begins there, in place.
func (pl *places) addr(p []byte, at int) []byte { return p[at : at+pl.AddrSize()] }

// put writes value into field, which is a piece of p at an even offset, and corrects the checksums that cover it.
func (pl *places) put(p, field, value []byte, isAddr bool) {
	delta := header.Delta(header.Sum(field), header.Sum(value))
	copy(field, value)
	if isAddr && pl.Version == 4 {
		b := p[header.HeaderSumAt:]
		binary.BigEndian.PutUint16(b, header.Adjust(binary.BigEndian.Uint16(b), delta))
	}
	if !isAddr || pl.pseudo {
		pl.adjust(p, delta)
	}
}

// adjust corrects the checksum of the transport header.
func (pl *places) adjust(p []byte, delta uint32) {
	if pl.sumSize != 2 {
		return
	}
	b := p[pl.sum:]
	if sum := binary.BigEndian.Uint16(b); sum != 0 || !pl.optional {
		binary.BigEndian.PutUint16(b, header.NonZero(pl.Proto, header.Adjust(sum, delta)))
	}
}

// sumIsRight reports whether the checksum of the transport header is right. That of a fragment is not.
func (pl *places) sumIsRight(p []byte) bool {
	return pl.hasWholeSum() && header.GetSum(p[pl.sum:pl.sum+pl.sumSize]) == pl.rightSum(p)
}

// hasWholeSum reports whether there is a checksum and all that it covers.
func (pl *places) hasWholeSum() bool { return pl.sumSize > 0 && !pl.IsFragment() }

func (pl *places) rightSum(p []byte) uint32 {
	return header.TransportSum(pl.Proto, pl.addr(p, pl.SrcAt()), pl.addr(p, pl.DstAt()), pl.Body(p))
}

// fixSum makes the checksum of the transport header right, unless there is none or p is a fragment.
func (pl *places) fixSum(p []byte) {
	if !pl.hasWholeSum() {
		return
	}
	if b := p[pl.sum : pl.sum+pl.sumSize]; !pl.optional || header.GetSum(b) != 0 {
		header.SetTransportSum(pl.Proto, pl.addr(p, pl.SrcAt()), pl.addr(p, pl.DstAt()), pl.Body(p))
	}
}

// fixSums makes all checksums of p right that it has.
func fixSums(p []byte) {
	pl, ok := placesOf(p)
	if !ok {
		return
	}
	if pl.Version == 4 {
		header.SetHeaderSum(p)
	}
	pl.fixSum(p)
}
