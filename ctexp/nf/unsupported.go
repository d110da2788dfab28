package nf

import (
	"errors"
	"fmt"
)

// UnsupportedError reports that the machine lacks something, as opposed to an operation that failed.
// errors.Is(err, errors.ErrUnsupported) holds. A test that gets this error skips.
type UnsupportedError struct {
	Need string // what is missing, in one or two words that CTEXP_LACKS can list: "/dev/net/tun", "iptables-legacy"
	Hint string // how to provide it; may be empty
	Err  error  // the cause; may be nil
}

// Error returns the need, the cause and the hint.
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
