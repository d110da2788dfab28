//go:build !linux

package kernel

import "runtime"

// running returns what counts as the latest Linux.
func running() system { return system{latest, runtime.GOOS} }
