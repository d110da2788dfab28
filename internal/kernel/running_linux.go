package kernel

import (
	"sync"

	"golang.org/x/sys/unix"
)

// running returns the running kernel. One that does not tell its release counts as the latest.
var running = sync.OnceValue(func() system {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return system{release: latest, name: err.Error()}
	}
	return systemOf(unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Version[:]))
})
