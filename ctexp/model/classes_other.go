//go:build !linux

package model

import (
	"context"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Classes returns rules whose Load returns an nf.UnsupportedError.
func Classes() netnsenv.Ruleset { return elsewhere{} }

type elsewhere struct{}

// Load returns an nf.UnsupportedError.
func (elsewhere) Load(context.Context, *netnsenv.Env) error {
	return &nf.UnsupportedError{Need: "Linux", Hint: "run it on Linux, in a container or a virtual machine"}
}
