package netnsenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// marker is the environment variable that tells a process how far it has come: markerPending in the one just
// executed, then "in " and the mount namespace that it and its children are in, or why it could not enter.
const (
	marker        = "CTEXP_ENTERED"
	markerPending = "pending"
	markerRefused = "refused: "
	markerNotRoot = "not root: "
)

// The main thread is kept for the main goroutine: it must not become the thread of an Env, because a locked
// goroutine that ends on it wedges instead of ending the thread, and Pdeathsig belongs to the thread that forks.
func init() { runtime.LockOSThread() }

// EnterWith is Enter with a choice of what to keep and to hand down.
func EnterWith(e Entry) {
	switch mark := os.Getenv(marker); {
	case mark == markerPending:
		if err := privateRun(); err != nil {
			fmt.Fprintln(os.Stderr, "ctexp: /run stays the host's:", err)
		}
		setMarker("in " + mountNamespace())
		return
	case mark == "in "+mountNamespace():
		return
	case isUnshared() && !e.RealRoot && privateRunOnce() == nil:
		return // as unshare -Urm has made it; without -m it goes on
	}
	if e.RealRoot {
		setMarker(markerNotRoot + runAgain(e, unix.CLONE_NEWNS).Error())
		return
	}
	err := runAgain(e, unix.CLONE_NEWUSER|unix.CLONE_NEWNS)
	if hasCaps(unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN) {
		err = runAgain(e, unix.CLONE_NEWNS)
	}
	setMarker(markerRefused + err.Error())
}

func setMarker(v string) {
	if err := os.Setenv(marker, v); err != nil {
		panic("netnsenv: " + err.Error()) // cannot be: the name and the value have no NUL
	}
}

// runAgain executes the same binary in new namespaces and does not return if that succeeds: it ends the way the
// second process ends.
func runAgain(e Entry, flags uintptr) error {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = e.Files
	cmd.Env = append(os.Environ(), marker+"="+markerPending)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: unix.SIGKILL}
	if flags&unix.CLONE_NEWUSER != 0 {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	// By list: SIGURG is the Go runtime's own, SIGCHLD is about the child itself.
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGABRT)
	if err := cmd.Start(); err != nil {
		signal.Stop(signals)
		return err
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s) // it may have ended already
		}
	}()
	_ = cmd.Wait() // the state says it all
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		signal.Reset()
		_ = unix.Kill(os.Getpid(), status.Signal())
		syscall.Exit(128 + int(status.Signal()))
	}
	// Not os.Exit: its hooks would write the coverage of a process that has run no test, or complain.
	syscall.Exit(status.ExitStatus())
	return nil
}

// entered reports whether Envs can be opened by this process: nil, ErrNotEntered, or an UnsupportedError.
func entered() error {
	switch mark := os.Getenv(marker); {
	case mark == "in "+mountNamespace():
		return nil
	case isUnshared():
		if err := privateRunOnce(); err != nil {
			return fmt.Errorf("netnsenv: a user namespace without a mount namespace of its own (unshare -Urm, not -Ur): %w", err)
		}
		return nil
	case strings.HasPrefix(mark, markerNotRoot):
		return &nf.UnsupportedError{Need: "real root", Hint: "run it as root of the host", Err: errors.New(strings.TrimPrefix(mark, markerNotRoot))}
	case strings.HasPrefix(mark, markerRefused):
		return userNamespacesError(fmt.Errorf("enter a user namespace: %s", strings.TrimPrefix(mark, markerRefused)))
	}
	return ErrNotEntered
}

func mountNamespace() string {
	s, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return "unknown" // no /proc: nothing else of this package works either
	}
	return s
}

// isUnshared reports whether something like unshare -Urm has put the process into a user namespace with just one
// user. A container's user namespace has many, and is not ours to change.
func isUnshared() bool {
	m, err := os.ReadFile("/proc/self/uid_map")
	f := strings.Fields(string(m))
	return err == nil && len(f) == 3 && f[2] == "1" && hasCaps(unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN)
}

var privateRunOnce = sync.OnceValue(privateRun)

// privateRun covers /run with a file system of this mount namespace, so that the lock of iptables (/run/xtables.lock)
// is nobody else's. Everything that was there stays there, bound into its place: name resolution and the sockets of
// other services go on working.
func privateRun() error {
	// The host's /run stays reachable through this descriptor when it is covered.
	old, err := os.Open("/run")
	if err != nil {
		return err
	}
	defer old.Close()
	entries, err := old.ReadDir(-1)
	if err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mount a private /run: %w", err)
	}
	for _, e := range entries {
		if e.Name() != "xtables.lock" {
			bindAgain(fmt.Sprintf("/proc/self/fd/%d/%s", old.Fd(), e.Name()), filepath.Join("/run", e.Name()), e)
		}
	}
	return nil
}

// bindAgain gives a covered entry its place back. What cannot be bound is left out: nothing of ours needs it.
func bindAgain(from, to string, e os.DirEntry) {
	if e.Type()&os.ModeSymlink != 0 {
		if target, err := os.Readlink(from); err == nil {
			_ = os.Symlink(target, to)
		}
		return
	}
	if e.IsDir() {
		if os.Mkdir(to, 0o755) != nil {
			return
		}
	} else {
		f, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return
		}
		f.Close()
	}
	if unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, "") != nil {
		_ = os.Remove(to)
	}
}

// hasCaps reports whether the calling thread has all of the capabilities in its effective set.
func hasCaps(caps ...uint) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return false
	}
	for _, c := range caps {
		if data[c/32].Effective&(1<<(c%32)) == 0 {
			return false
		}
	}
	return true
}

// userNamespacesError wraps the refusal of a user namespace, or of the capabilities in it, with the switch that is
// responsible for it on this machine.
func userNamespacesError(cause error) error {
	hint := "a container needs --security-opt seccomp=unconfined, or CAP_SYS_ADMIN and CAP_NET_ADMIN"
	for _, s := range []struct{ file, refuses, hint string }{
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or run as root"},
		{"/proc/sys/kernel/unprivileged_userns_clone", "0", "sudo sysctl -w kernel.unprivileged_userns_clone=1, or run as root"},
		{"/proc/sys/user/max_user_namespaces", "0", "sudo sysctl -w user.max_user_namespaces=10000"},
	} {
		if v, err := os.ReadFile(s.file); err == nil && strings.TrimSpace(string(v)) == s.refuses {
			hint = s.hint
			break
		}
	}
	return &nf.UnsupportedError{Need: "user namespaces", Hint: hint, Err: cause}
}
