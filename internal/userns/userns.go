// Package userns tells in which user namespace the process is.
package userns

import (
	"os"
	"strings"
)

// Own reports whether the process is in another user namespace than the host's root, whose map is the identity. Where
// there is no such map, it is in none.
func Own() bool {
	m, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(m)), " ") != "0 0 4294967295"
}
