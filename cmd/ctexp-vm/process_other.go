//go:build !linux

package main

import (
	"os/exec"
	"syscall"
	"time"
)

// withParent puts the process into a group of its own: this system cannot kill it with its parent.
func withParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// startWithParent starts the process.
func startWithParent(cmd *exec.Cmd) (stop func(), err error) { return func() {}, cmd.Start() }

// waited returns 0: this system does not tell how long a process has waited for a processor.
func waited(int) time.Duration { return 0 }
