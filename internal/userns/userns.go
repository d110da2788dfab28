// Package userns tells in which user namespace the process is, and which users and groups that has.
package userns

import (
	"fmt"
	"os"
	"strings"
)

// Own reports whether the process is in another user namespace than the host's root, whose map is the identity. Where
// there is no such map, it is in none.
func Own() bool {
	m, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(m)), " ") != "0 0 4294967295"
}

// Range is a range of users or groups: ids from First on in the user namespace, which are those from Outside on in the one
// above.
type Range struct{ First, Outside, Size uint32 }

// Users returns the users of the user namespace: nil if that is not known.
func Users() []Range { return ranges("/proc/self/uid_map") }

// Groups returns the groups of the user namespace: nil if that is not known.
func Groups() []Range { return ranges("/proc/self/gid_map") }

// Has reports whether one of the ranges has an id. Ranges that are not known have every id.
func Has(ranges []Range, id uint32) bool {
	for _, r := range ranges {
		if id >= r.First && id-r.First < r.Size {
			return true
		}
	}
	return ranges == nil
}

func ranges(file string) (all []Range) {
	m, err := os.ReadFile(file)
	if err != nil {
		return nil // a kernel without user namespaces, where every id is as it is
	}
	for line := range strings.Lines(string(m)) {
		var r Range
		if _, err := fmt.Sscan(line, &r.First, &r.Outside, &r.Size); err == nil {
			all = append(all, r)
		}
	}
	return all
}
