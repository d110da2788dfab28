package main

import (
	"os/exec"
	"runtime"
	"syscall"
)

// withParent has the kernel kill the process when this one ends, also by kill -9.
func withParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// startWithParent starts the process from a thread that lives until stop is called: the signal of withParent comes when
// the thread ends that has started the process.
func startWithParent(cmd *exec.Cmd) (stop func(), err error) {
	done, started := make(chan struct{}), make(chan error)
	go func() {
		runtime.LockOSThread()
		started <- cmd.Start()
		<-done // the thread ends with the goroutine
	}()
	return func() { close(done) }, <-started
}
