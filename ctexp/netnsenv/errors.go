package netnsenv

import "errors"

// ErrClosed is returned by the methods of an Env that has been closed.
var ErrClosed = errors.New("netnsenv: the Env is closed")
