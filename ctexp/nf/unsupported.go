package nf

import (
	"errors"
	"fmt"
)

// UnsupportedError says that something cannot be had here, which is not the same as that it went wrong:
// errors.Is(err, errors.ErrUnsupported) holds, and a test that gets it skips.
type UnsupportedError struct {
	Need string // what is missing, in one or two words that CTEXP_LACKS can name: "/dev/net/tun", "iptables-legacy"
	Hint string // what to do about it
	Err  error  // the cause; nil if there is none beyond the need
}

// Error says need, hint and cause.
func (e *UnsupportedError) Error() string {
	s := fmt.Sprintf("needs %s", e.Need)
	if e.Err != nil {
		s += fmt.Sprintf(": %v", e.Err)
	}
	if e.Hint != "" {
		s += fmt.Sprintf(" (%s)", e.Hint)
	}
	return s
}

// Is reports whether target is errors.ErrUnsupported.
func (e *UnsupportedError) Is(target error) bool { return target == errors.ErrUnsupported }

// Unwrap returns the cause.
func (e *UnsupportedError) Unwrap() error { return e.Err }
