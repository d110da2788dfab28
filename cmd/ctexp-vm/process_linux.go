package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
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

// waited returns how long the threads of a process have waited for a processor: the second number of their schedstat
// (Documentation/scheduler/sched-stats.rst). It is 0 where the kernel does not tell.
func waited(pid int) (sum time.Duration) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, file := range files {
		var ran, delay time.Duration
		if b, err := os.ReadFile(file); err == nil { // a thread may have ended
			_, _ = fmt.Sscan(string(b), &ran, &delay)
			sum += delay
		}
	}
	return sum
}
