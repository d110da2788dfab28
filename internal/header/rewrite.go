package header

import "encoding/binary"

// Rewriter changes the addresses and the ports of a packet, and corrects the checksums that cover them. Neither to find
// the places nor to change what is there allocates memory.
type Rewriter struct {
	View
	HasPorts       bool // the transport header begins with ports
	SumAt, SumSize int  // the checksum of the transport header; size 0: there is none
	SumOptional    bool // a checksum of zero means that there is none
	SumCoversAddrs bool // the checksum covers the addresses as well, and can be corrected by what changes in them
}

// NewRewriter returns the Rewriter of p; ok is false if p has no network header that the kernel accepts.
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

// Put writes value into field, which is a piece of p at an even offset, and corrects the checksums that cover it.
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

// Adjust corrects the checksum of the transport
func (pl *Rewriter) Adjust(p []byte, delta uint32) {
	if pl.SumSize != 2 {
		return
	}
	b := p[pl.SumAt:]
	if sum := binary.BigEndian.Uint16(b); sum != 0 || !pl.SumOptional {
		binary.BigEndian.PutUint16(b, NonZero(pl.Proto, Adjust(sum, delta)))
	}
}

// hasWholeSum reports whether there is a checksum and all that it covers.
func (pl *Rewriter) hasWholeSum() bool { return pl.SumSize > 0 && !pl.IsFragment() }

// IsSumRight reports whether the checksum of the transport header is right. That of a fragment is not.
func (pl *Rewriter) IsSumRight(p []byte) bool {
	return pl.hasWholeSum() &&
		GetSum(p[pl.SumAt:pl.SumAt+pl.SumSize]) == TransportSum(pl.Proto, pl.AddrBytes(p), pl.Body(p))
}

// FixSum makes the checksum of the transport header right, unless there is none or p is a fragment.
func (pl *Rewriter) FixSum(p []byte) {
	if pl.hasWholeSum() && (!pl.SumOptional || GetSum(p[pl.SumAt:pl.SumAt+pl.SumSize]) != 0) {
		SetTransportSum(pl.Proto, pl.AddrBytes(p), pl.Body(p))
	}
}

// FixSums makes all checksums of p right that it has.
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
