//go:build !linux

package dropreason

import (
	"context"
	"errors"
	"iter"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// ErrLost is returned by Drops if it could not record all dropped packets.
var ErrLost = errors.New("reasons of dropped packets were lost")

// Watcher records the packets that are dropped in a namespace. It needs Linux.
type Watcher struct{}

var errNotLinux = &nf.UnsupportedError{Need: "Linux", Hint: "the reasons of dropped packets are those of the Linux kernel"}

// Open returns an nf.UnsupportedError.
func Open(interface{ FD() int }) (*Watcher, error) { return nil, errNotLinux }

// Drops yields an nf.UnsupportedError.
func (*Watcher) Drops(context.Context) iter.Seq2[nf.Dropped, error] {
	return func(yield func(nf.Dropped, error) bool) { yield(nf.Dropped{}, errNotLinux) }
}

// Close does nothing.
func (*Watcher) Close() error { return nil }
