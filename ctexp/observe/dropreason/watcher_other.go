//go:build !linux

package dropreason

import (
	"context"
	"errors"
	"iter"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// ErrLost says that packets were dropped that are not among those that Drops gave.
var ErrLost = errors.New("reasons of dropped packets were lost")

// Watcher records what is dropped in a namespace of Linux. Elsewhere there is none.
type Watcher struct{}

var errNotLinux = &nf.UnsupportedError{Need: "Linux", Hint: "the Linux kernel tells why it drops packets"}

// Open returns an nf.UnsupportedError.
func Open(interface{ FD() int }) (*Watcher, error) { return nil, errNotLinux }

// Drops yields an nf.UnsupportedError.
func (*Watcher) Drops(context.Context) iter.Seq2[nf.Dropped, error] {
	return func(yield func(nf.Dropped, error) bool) { yield(nf.Dropped{}, errNotLinux) }
}

// Close does nothing.
func (*Watcher) Close() error { return nil }
