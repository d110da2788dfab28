//go:build !linux

package jiffies

import (
	"errors"
	"time"
)

// Now returns errors.ErrUnsupported: only Linux has jiffies.
func Now() (time.Duration, error) { return 0, errors.ErrUnsupported }

// Size returns errors.ErrUnsupported.
func Size() (time.Duration, error) { return 0, errors.ErrUnsupported }
