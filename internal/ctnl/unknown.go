package ctnl

import (
	"cmp"
	"fmt"
)

// UnknownError says that a message of the kernel has an attribute that this package does not know, as later kernels may
// add. What it knows is decoded all the same; only in a tuple, which in part would name another flow, nothing is.
type UnknownError struct {
	Among  string // what the attribute belongs to
	Type   uint16
	Offset int // of its value in the datagram
}

// Error says which attribute and where.
func (e *UnknownError) Error() string {
	return fmt.Sprintf("netlink attribute of type %d, value at offset %d: unknown among those of the %s", e.Type, e.Offset, e.Among)
}

func (v value) unknown(among string) *UnknownError {
	return &UnknownError{Among: among, Type: v.typ, Offset: v.at}
}

// unknowns keeps the first attribute that is unknown.
type unknowns struct{ first *UnknownError }

func (u *unknowns) add(v value, among string) error {
	u.first = cmp.Or(u.first, v.unknown(among))
	return nil
}
