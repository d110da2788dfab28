// Package guard kills what is left in network namespaces when the process that made them has ended, however it ended: also
// programs that others have left in the background, which no signal of the kernel reaches.
//
// The guard is a process of its own session, which executes the same binary and waits for the end of a socket. It holds the
// namespaces open, so that no other namespace can be taken for one of them.
package guard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// name is the name of the program that is the guard.
const name = "ctexp-guard"

// The guard must not run what the binary is otherwise: the tests of a package, of which one has started it.
func init() {
	if len(os.Args) == 1 && os.Args[0] == name {
		guard(0)
		syscall.Exit(0) // not os.Exit, whose hooks would write coverage data
	}
}

// The messages to the guard: one of these bytes, and the number of the namespace. add has a file descriptor of it.
const (
	add    = '+'
	remove = '-'
)

// Watch makes the guard kill all processes in the namespace when this process ends. forget ends that.
func Watch(netns *os.File) (forget func(), err error) {
	g, err := started()
	if err != nil {
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	n, err := number(netns)
	if err != nil {
		return nil, err
	}
	if err := unix.Sendmsg(g, message(add, n), unix.UnixRights(int(netns.Fd())), nil, unix.MSG_NOSIGNAL); err != nil {
		return nil, fmt.Errorf("tell the guard: %w", err)
	}
	return func() { _ = unix.Sendmsg(g, message(remove, n), nil, nil, unix.MSG_NOSIGNAL) }, nil
}

func message(what byte, n uint64) []byte { return binary.NativeEndian.AppendUint64([]byte{what}, n) }

// number returns the inode of a namespace, which no other has as long as it is open.
func number(netns *os.File) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(netns.Fd()), &st); err != nil {
		return 0, fmt.Errorf("stat the network namespace: %w", err)
	}
	return st.Ino, nil
}

// started starts the guard, once, and returns the socket to it.
var started = sync.OnceValues(func() (socket int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	end := os.NewFile(uintptr(fds[1]), "the guard's end")
	defer end.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args[0] = name
	cmd.Stdin = end
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // what is sent to the process group must not reach it
	done := make(chan error)
	go func() { done <- cmd.Start() }() // on a thread that is in no namespace of an Env
	if err := <-done; err != nil {
		unix.Close(fds[0])
		return -1, err
	}
	go func() { _ = cmd.Wait() }() // if it is killed, it is no zombie
	return fds[0], nil
})

// guard is the process: it reads messages until the other end is closed, and then kills what is in the namespaces.
func guard(socket int) {
	watched := map[uint64]int{} // file descriptors
	for {
		var data [9]byte
		var rights [64]byte
		n, rn, _, _, err := unix.Recvmsg(socket, data[:], rights[:], unix.MSG_CMSG_CLOEXEC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n < len(data) {
			break
		}
		ns := binary.NativeEndian.Uint64(data[1:])
		if fd, known := watched[ns]; known {
			unix.Close(fd)
			delete(watched, ns)
		}
		if fd, ok := received(rights[:rn]); ok && data[0] == add {
			watched[ns] = fd
		}
	}
	for _, fd := range watched {
		Kill(fd)
	}
}

// received returns the file descriptor in a control message.
func received(control []byte) (fd int, ok bool) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil || len(messages) == 0 {
		return -1, false
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) == 0 {
		return -1, false
	}
	return fds[0], true
}

// Kill kills every process in the namespace, including those whose parents have ended. A process is where its main thread
// is, which /proc/<pid>/ns/net shows.
func Kill(netns int) {
	inside, err := os.Stat(fmt.Sprintf("/proc/self/fd/%d", netns))
	if err != nil {
		return
	}
	const passes = 10 // a process may start another during a pass
	for range passes {
		found := false
		processes, _ := filepath.Glob("/proc/[0-9]*/ns/net")
		for _, p := range processes {
			st, err := os.Stat(p) // fails for processes of other users
			if err != nil || !os.SameFile(st, inside) {
				continue
			}
			if pid, err := strconv.Atoi(strings.Split(p, "/")[2]); err == nil && pid != os.Getpid() {
				found = unix.Kill(pid, unix.SIGKILL) == nil || found
			}
		}
		if !found {
			return
		}
	}
}
