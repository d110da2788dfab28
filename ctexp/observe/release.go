package observe

import "fmt"

// before reports whether the release of a kernel, "5.10.262-1" say, is older than major.minor.
func before(release string, major, minor int) bool {
	var a, b int
	if n, _ := fmt.Sscanf(release, "%d.%d", &a, &b); n != 2 {
		return false
	}
	return a < major || a == major && b < minor
}
