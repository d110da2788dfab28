//go:build !linux

package xdpflood

import (
	"context"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// send returns the error for systems other than Linux.
func send(_ context.Context, link Link, f inject.Flood) (inject.Flooded, error) {
	_, err := check(link, f)
	if err == nil {
		err = &nf.UnsupportedError{Need: "Linux", Hint: "XDP is the Linux kernel's"}
	}
	return inject.Flooded{}, err
}
