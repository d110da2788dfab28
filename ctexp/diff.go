package ctexp

import (
	"net/netip"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// Diff returns the difference of two plain values in the manner of cmp.Diff, lines of want with - and of got with +,
// or "" if they are equal. An empty and a nil slice or map count as equal, and the types of netip are compared by ==,
// on which a bare cmp.Diff panics.
func Diff(want, got any) string {
	return cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{}))
}
