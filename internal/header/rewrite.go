package header

import "encoding/binary"

// Rewriter changes addresses and ports of a packet and corrects the checksums that cover them. It does not allocate
// memory.
type Rewriter struct {
	View                // where the headers are
	HasPorts       bool // the transport header begins with ports
	SumAt, SumSize int  // offset and size of the transport checksum in bytes; size 0: there is none
	SumOptional    bool // a checksum field of zero means no checksum
	SumCoversAddrs bool // the checksum covers the addresses too, so that a change of them can be applied to it
}

// NewRewriter returns the Rewriter for the packet p. ok is false if p has no network header that the kernel accepts.
func NewRewriter(p []byte) (pl Rewriter, ok bool) {
	v := Parse(p)
	if !v.HasHeader() {
		return Rewriter{}, false
	}
	pl = Rewriter{View: v}
	l4 := v.Body(p)
	if len(l4) == 0 {
		return pl, true
	}
	pl.HasPorts = HasPorts(v.Proto) && len(l4) >= 4
	at, size := SumField(v.Proto, l4)
	pl.SumAt, pl.SumSize = v.Transport+at, size
	pl.SumCoversAddrs = size == 2 && CoversAddrs(v.Proto)
	pl.SumOptional = v.Proto == ProtoUDP && v.Version == 4
	return pl, true
}

// Put copies value into field, a slice of p at an even offset, and corrects the checksums that cover it. isAddr says
// whether field is an address rather than part of the transport header.
func (pl *Rewriter) Put(p, field, value []byte, isAddr bool) {
	delta := Delta(Sum(field), Sum(value))
	copy(field, value)
	if isAddr && pl.Version == 4 {
		b := p[HeaderSumAt:]
		binary.BigEndian.PutUint16(b, Adjust(binary.BigEndian.Uint16(b), delta))
	}
	if !isAddr || pl.SumCoversAddrs {
		pl.Adjust(p, delta)
	}
}

// Adjust applies delta, a Delta of what the transport checksum covers, to that checksum.
func (pl *Rewriter) Adjust(p []byte, delta uint32) {
	if pl.SumSize != 2 {
		return
	}
	b := p[pl.SumAt:]
	if sum := binary.BigEndian.Uint16(b); sum != 0 || !pl.SumOptional {
		binary.BigEndian.PutUint16(b, NonZero(pl.Proto, Adjust(sum, delta)))
	}
}

// hasWholeSum reports whether p has a transport checksum and all the data that it covers.
func (pl *Rewriter) hasWholeSum() bool { return pl.SumSize > 0 && !pl.IsFragment() }

// IsSumRight reports whether the transport checksum of p is right. It is false without a checksum and for fragments.
func (pl *Rewriter) IsSumRight(p []byte) bool {
	return pl.hasWholeSum() &&
		GetSum(p[pl.SumAt:pl.SumAt+pl.SumSize]) == TransportSum(pl.Proto, pl.AddrBytes(p), pl.Body(p))
}

// FixSum sets the transport checksum of p, unless there is none or p is a fragment.
func (pl *Rewriter) FixSum(p []byte) {
	if pl.hasWholeSum() && (!pl.SumOptional || GetSum(p[pl.SumAt:pl.SumAt+pl.SumSize]) != 0) {
		SetTransportSum(pl.Proto, pl.AddrBytes(p), pl.Body(p))
	}
}

// FixSums sets all checksums that p has.
func FixSums(p []byte) {
	pl, ok := NewRewriter(p)
	if !ok {
		return
	}
	if pl.Version == 4 {
		SetHeaderSum(p)
	}
	pl.FixSum(p)
}
