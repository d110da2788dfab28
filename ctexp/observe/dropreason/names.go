package dropreason

import (
	"fmt"
	"strings"
)

// names are the kernel's names of the reasons, by their numbers.
type names map[uint32]string

// prefix begins the names of most of them.
const prefix = "SKB_DROP_REASON_"

func (n names) add(number uint32, name string) { n[number] = strings.TrimPrefix(name, prefix) }

// name returns the name of a reason. Subsystems have numbers of their own (include/net/dropreason.h,
// SKB_DROP_REASON_SUBSYS_MASK), which are no part of the enumeration.
func (n names) name(number uint32) string {
	if s := n[number]; s != "" {
		return s
	}
	if sub := number >> 16; sub != 0 {
		return fmt.Sprintf("reason(subsystem %d, %d)", sub, number&0xffff)
	}
	return fmt.Sprintf("reason(%d)", number)
}
