package netnsenv

import (
	"fmt"
	"os"
)

// ErrClosed is returned by the methods of an Env that has been closed, and of its links. It is an os.ErrClosed as well.
var ErrClosed = fmt.Errorf("netnsenv: the Env is closed: %w", os.ErrClosed)
