//go:build !linux

package netnsenv

import "context"

// Like returns an nf.UnsupportedError.
func Like(context.Context, string) (Likeness, error) { return Likeness{}, errLinux }
