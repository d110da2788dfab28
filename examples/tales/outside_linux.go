package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// firstFile is the descriptor at which the handed files begin (netnsenv.Entry).
const firstFile = 3

// prepareOutside opens and begins what the rows need of it. In the process that has entered, it finds what was handed down.
func prepareOutside(rows []row) *outside {
	o := &outside{opened: map[string]*os.File{}, lacks: map[string]string{}}
	if text := os.Getenv(handedVariable); text != "" {
		var h handed
		if err := json.Unmarshal([]byte(text), &h); err != nil {
			panic(fmt.Sprintf("tales: %s: %v", handedVariable, err)) // we have written it
		}
		for i, name := range h.Names {
			unix.CloseOnExec(firstFile + i)
			o.add(name, os.NewFile(uintptr(firstFile+i), name))
		}
		o.lacks = h.Lacks
		return o
	}
	// What changes the limit of the machine has ended before anything else begins.
	if os.Getenv(vmVariable) == "1" && isHostRoot() && slices.ContainsFunc(rows, func(r row) bool { return r.id == limitEdges }) {
		o.play(roleLimits, nil)()
	}
	for _, r := range rows {
		o.prepare(r.id)
	}
	text, err := json.Marshal(handed{o.names, o.lacks})
	if err == nil {
		err = os.Setenv(handedVariable, string(text))
	}
	if err != nil {
		panic("tales: " + err.Error()) // cannot be: plain text
	}
	return o
}

// prepare does it for one row.
func (o *outside) prepare(id string) {
	switch id {
	case kernelLog:
		if f, err := os.Open("/dev/kmsg"); err == nil {
			o.add(logFile, f)
		} else {
			o.lacks[logFile] = err.Error()
		}
	case unprivileged:
		if isHostRoot() {
			o.play(roleOrdinary, &syscall.Credential{Uid: nobody, Gid: nobody})
		}
	case beforeConntrack:
		if isHostRoot() {
			o.play(roleXDP, nil)
		}
	}
}

// nobody is the user and group that no file belongs to.
const nobody = 65534

// play starts the program again in a role. What it says comes by a pipe, which holds more than that; it dies with us.
// Whoever needs it to have ended calls wait.
func (o *outside) play(role string, as *syscall.Credential) (wait func()) {
	ended := make(chan struct{})
	wait = func() { <-ended }
	out, in, err := os.Pipe()
	if err != nil {
		o.lacks[role] = err.Error()
		close(ended)
		return wait
	}
	defer in.Close()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stdout, cmd.Stderr = in, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as, Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		out.Close()
		o.lacks[role] = err.Error()
		close(ended)
		return wait
	}
	go func() {
		defer close(ended)
		_ = cmd.Wait() // what became of it the pipe tells
	}()
	o.add(role, out)
	return wait
}

// isHostRoot reports whether the process is root, and not merely of a user namespace.
func isHostRoot() bool {
	outer, err := outerUID()
	return err == nil && outer == 0 && os.Geteuid() == 0
}

// outerUID returns the uid that root of this user namespace has outside of it.
func outerUID() (uid int, err error) {
	m, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return 0, err
	}
	var inside int
	if _, err := fmt.Sscan(strings.TrimSpace(string(m)), &inside, &uid); err != nil {
		return 0, fmt.Errorf("/proc/self/uid_map: %w", err)
	}
	return uid, nil
}
