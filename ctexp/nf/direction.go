package nf

import "fmt"

// Direction is one of the two directions of a flow (include/uapi/linux/netfilter/nf_conntrack_tuple_common.h, enum
// ip_conntrack_dir, which counts from zero). The zero Direction means both.
type Direction uint8

// The directions: that of the packet that made the entry, and that of its answers.
const (
	Original Direction = 1 + iota
	Reply
)

// String returns "original" or "reply" as nft writes it, "both" for the zero Direction.
func (d Direction) String() string {
	names := [...]string{"both", "original", "reply"}
	if int(d) < len(names) {
		return names[d]
	}
	return fmt.Sprintf("direction(%d)", uint8(d))
}
