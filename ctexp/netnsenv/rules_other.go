//go:build !linux

package netnsenv

import "context"

// Load implements Ruleset.
func (t nftText) Load(context.Context, *Env) error { return errLinux }

// Load implements Ruleset.
func (s saveText) Load(context.Context, *Env) error { return errLinux }

// Load implements Ruleset.
func (s singleCommands) Load(context.Context, *Env) error { return errLinux }
