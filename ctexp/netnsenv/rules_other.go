//go:build !linux

package netnsenv

import "context"

// Load implements Ruleset.
func (t nftText) Load(context.Context, *Env) error { return errLinux }

// Load implements Ruleset.
func (s saveText) Load(context.Context, *Env) error { return errLinux }

// Load implements Ruleset.
func (s singleCommands) Load(context.Context, *Env) error { return errLinux }

// Load says that this is no Linux.
func (p TimeoutPolicy) Load(context.Context, *Env) error { return errLinux }

// Load says that this is no Linux.
func (h Helper) Load(context.Context, *Env) error { return errLinux }

// Load says that this is no Linux.
func (x Expect) Load(context.Context, *Env) error { return errLinux }

// Join says that this is no Linux.
func Join(context.Context, *Env, *Env, Wire) error { return errLinux }
