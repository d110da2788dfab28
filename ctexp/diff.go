package ctexp

import (
	"bytes"
	"net/netip"
	"slices"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ctexp/go-ctexp/ctexp/inject"
)

// Diff returns the difference of two plain values in the manner of cmp.Diff, lines of want with - and of got with +,
// or "" if they are equal. An empty and a nil slice or map count as equal, and the types of netip are compared by ==,
// on which a bare cmp.Diff panics. Of two packets the fields are shown in which they differ.
func Diff(want, got any) string {
	return cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{}), byFields)
}

// byFields shows packets by their fields where these tell them apart: their lines may be the same.
var byFields = cmp.FilterValues(func(a, b inject.Packet) bool {
	return !bytes.Equal(a, b) && !slices.Equal(a.Fields(), b.Fields())
}, cmp.Transformer("Fields", inject.Packet.Fields))
