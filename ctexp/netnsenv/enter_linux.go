package netnsenv

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// marker is the environment variable with the state of Enter. It is markerPending in the process just executed; if
// newuidmap is used, markerUnmapped in that and markerMapped in the one that it executes. After
// that it is "in " and the mount namespace of the process and its children, or why they could not enter: an errno that
// proves that the machine does not permit it, or the text of another error. What network the process has follows in the
// first two states.
const (
	marker         = "CTEXP_ENTERED"
	markerPending  = "pending"
	markerUnmapped = "unmapped"
	markerMapped   = "mapped"
	markerRefused  = "refused: "
	markerNotRoot  = "not root: "
	markerFailed   = "failed: "
)

// notPermitted are the errors of clone that prove that this machine permits no such namespaces: no privilege or a policy
// against it (EPERM, EACCES), a limit (ENOSPC; EUSERS before Linux 4.9), a kernel without them (EINVAL), or a filter of
// system calls (ENOSYS). See clone(2) and user_namespaces(7).
var notPermitted = []unix.Errno{unix.EPERM, unix.EACCES, unix.ENOSPC, unix.EUSERS, unix.EINVAL, unix.ENOSYS}

// The main thread is reserved for the main goroutine. It must not become the thread of an Env, because a locked
// goroutine that ends on it blocks forever instead of ending the thread, and Pdeathsig is sent when the forking thread
// ends.
func init() { runtime.LockOSThread() }

// EnterWith is Enter with the options in e.
func EnterWith(e Entry) {
	defer e.become()
	switch mark, network := cutNetwork(os.Getenv(marker)); {
	case mark == markerUnmapped:
		awaitIDs(e, network)
	case mark == markerPending, mark == markerMapped:
		if mark == markerMapped {
			haveIDs(e)
		}
		if len(e.Like) > 0 {
			unix.CloseOnExec(e.likeFD())
		}
		settle(network)
		setenv("PATH", rootPath(os.Getenv("PATH")))
		setMarker("in " + mountNamespace() + network)
		return
	case mark == "in "+mountNamespace():
		return
	case isUnshared() && !e.RealRoot && adopt() == nil:
		setenv("PATH", rootPath(os.Getenv("PATH")))
		return // unshare -Urnm has made the namespaces; without -m this case does not apply
	}
	refused := markerRefused
	if e.RealRoot {
		refused = markerNotRoot
	}
	seen, err := e.seeAll()
	if err != nil {
		fmt.Fprintln(os.Stderr, "ctexp: namespaces of Entry.Like:", err)
	}
	for _, flags := range e.attempts() {
		maps := []ids{{}}
		if flags&unix.CLONE_NEWUSER != 0 {
			maps = idMaps()
		}
		for _, m := range maps {
			err = runAgain(e, seen, flags, m)
		}
	}
	setMarker(refusedBy(refused, err))
}

// attempts returns the sets of namespaces to try, the best first. Without a network namespace of its own the process can
// still tell what is missing, and has one anyway if the limit of them was reached for a moment only.
func (e Entry) attempts() []uintptr {
	var sets []uintptr
	if !e.RealRoot {
		sets = append(sets, unix.CLONE_NEWUSER|unix.CLONE_NEWNS)
	}
	if e.RealRoot || hasCaps(unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN) {
		sets = append(sets, unix.CLONE_NEWNS)
	}
	if e.HostNetwork {
		return sets
	}
	var all []uintptr
	for _, flags := range sets {
		all = append(all, flags|unix.CLONE_NEWNET, flags)
	}
	return all
}

// network returns which network a process in new namespaces has, for marker.
func (e Entry) network(flags uintptr) string {
	switch {
	case flags&unix.CLONE_NEWNET != 0:
		return networkOwn
	case e.HostNetwork:
		return networkAsked
	}
	return networkNone
}

// refusedBy returns the marker for the error of runAgain: mark and the errno if that proves a lack.
func refusedBy(mark string, err error) string {
	var errno unix.Errno
	if !errors.As(err, &errno) || !slices.Contains(notPermitted, errno) {
		return markerFailed + err.Error()
	}
	return mark + strconv.Itoa(int(errno))
}

// errnoOf returns the errno in a marker.
func errnoOf(mark, prefix string) error {
	n, err := strconv.Atoi(strings.TrimPrefix(mark, prefix))
	if err != nil {
		return fmt.Errorf("the environment variable %s is %q", marker, mark)
	}
	return unix.Errno(n)
}

func setMarker(v string) { setenv(marker, v) }

func setenv(name, v string) {
	if err := os.Setenv(name, v); err != nil {
		panic("netnsenv: " + err.Error()) // impossible: neither the name nor the value has a NUL
	}
}

// rootPath appends the directories of root's programs, such as ip and iptables, to a PATH that lacks them, as that of an ordinary
// user of Debian does.
func rootPath(path string) string {
	dirs := filepath.SplitList(path)
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return strings.Join(dirs, string(filepath.ListSeparator))
}

// runAgain executes the same binary in new namespaces. If that succeeds, it does not return, but exits like the second
// process.
func runAgain(e Entry, seen *os.File, flags uintptr, m ids) error {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = slices.Clone(e.Files)
	cmd.Env = os.Environ()
	if seen != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, seen)
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", likeVariable, e.likeFD()))
	}
	cmd.Env = append(cmd.Env, marker+"="+markerPending+e.network(flags))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: unix.SIGKILL}
	var mapped *os.File // is written to when the helpers have written the maps, and is open as long as this process lives
	if m.helpers {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		defer r.Close()
		defer w.Close()
		mapped = w
		cmd.ExtraFiles = append(cmd.ExtraFiles, r)
		cmd.Env[len(cmd.Env)-1] = marker + "=" + markerUnmapped + e.network(flags)
	} else {
		cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings = m.users, m.groups
		cmd.SysProcAttr.GidMappingsEnableSetgroups = os.Geteuid() == 0 && len(m.groups) > 0 && m.groups[0].Size > 1
	}
	// Not all signals: SIGURG belongs to the Go runtime, and SIGCHLD is about the child.
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGABRT)
	if err := cmd.Start(); err != nil {
		signal.Stop(signals)
		return err
	}
	if m.helpers {
		err := m.write(cmd.Process.Pid)
		if err == nil {
			_, err = mapped.Write([]byte{0})
		}
		if err != nil {
			signal.Stop(signals)
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			return err
		}
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s) // it may have ended already
		}
	}()
	_ = cmd.Wait() // the result is in ProcessState
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		signal.Reset()
		_ = unix.Kill(os.Getpid(), status.Signal())
		syscall.Exit(128 + int(status.Signal()))
	}
	// Not os.Exit, whose hooks would write the coverage data of this process, which has run no test.
	syscall.Exit(status.ExitStatus())
	return nil
}

// entered reports whether Envs can be opened by this process: nil, ErrNotEntered, or an UnsupportedError.
func entered() error {
	if err := errNotBecome(); err != nil {
		return err
	}
	switch mark, _ := cutNetwork(os.Getenv(marker)); {
	case mark == "in "+mountNamespace():
		return nil
	case isUnshared():
		if err := adopt(); err != nil {
			return fmt.Errorf("netnsenv: a user namespace without its own mount namespace (unshare -Urnm, not -Urn): %w", err)
		}
		return nil
	default:
		return enteredBy(mark)
	}
}

// enteredBy is entered for the marker of a process that is not in namespaces of its own.
func enteredBy(mark string) error {
	switch {
	case strings.HasPrefix(mark, markerNotRoot):
		return &nf.UnsupportedError{Need: "real root", Hint: "run as the host's root", Err: errnoOf(mark, markerNotRoot)}
	case strings.HasPrefix(mark, markerRefused):
		return userNamespacesError(fmt.Errorf("enter a user namespace: %w", errnoOf(mark, markerRefused)))
	case strings.HasPrefix(mark, markerFailed):
		return fmt.Errorf("netnsenv: execute the program again in new namespaces: %s", strings.TrimPrefix(mark, markerFailed))
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

// isUnshared reports whether the process is in a user namespace with only one user, as made by unshare -Urnm. A
// container's user namespace has many users, and must not be changed.
func isUnshared() bool {
	m, err := os.ReadFile("/proc/self/uid_map")
	f := strings.Fields(string(m))
	return err == nil && len(f) == 3 && f[2] == "1" && hasCaps(unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN)
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

// namespaceError returns the error for a network namespace that could not be created.
func namespaceError(err error) error {
	if errors.Is(err, unix.EPERM) {
		return userNamespacesError(err)
	}
	// kernel/ucount.c, inc_ucount: the limit of the user, also of one outside of this user namespace.
	return lackIf(err, nf.UnsupportedError{
		Need: "network namespaces", Hint: "the limit is reached: sudo sysctl -w user.max_net_namespaces=100000, or close Envs and end those that use them",
	}, unix.ENOSPC)
}

// userNamespacesError returns the UnsupportedError for a user namespace, or capabilities in it, that was not permitted.
// The hint names the setting of this machine that forbids it.
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
	if errors.Is(cause, unix.ENOSPC) || errors.Is(cause, unix.EUSERS) {
		hint = "the limit is reached: sudo sysctl -w user.max_user_namespaces=100000, or end those that use them"
	}
	return &nf.UnsupportedError{Need: "user namespaces", Hint: hint, Err: cause}
}

// programMark is the environment variable with the name of the program of Entry.Programs that this process is.
const programMark = "CTEXP_PROGRAM"

// Program returns a command that runs a function of Entry.Programs in the namespace: as a process of its own, which executes
// the same binary, so that all of its goroutines and threads are inside. Its os.Args are the name and args.
func (e *Env) Program(ctx context.Context, name string, args ...string) *Cmd {
	c := e.Command(ctx, "/proc/self/exe", args...)
	c.Args[0] = name
	c.program = name
	return c
}

// become runs the program that the process was started as, and does not return, if there is one.
func (e Entry) become() {
	name, ok := os.LookupEnv(programMark)
	if !ok {
		return
	}
	main := e.Programs[name]
	if main == nil {
		names := strings.Join(slices.Sorted(maps.Keys(e.Programs)), ", ")
		fmt.Fprintf(os.Stderr, "netnsenv: no program %q in Entry.Programs, which has: %s\n", name, names)
		os.Exit(127)
	}
	if err := os.Unsetenv(programMark); err != nil { // the programs that it starts are not it
		panic("netnsenv: " + err.Error())
	}
	main()
	os.Exit(0)
}

// errNotBecome returns an error in a process that was started as a program but did not become it.
func errNotBecome() error {
	name, ok := os.LookupEnv(programMark)
	if !ok {
		return nil
	}
	return fmt.Errorf("netnsenv: the process was started as the program %q but has not called EnterWith, or ctexp.MainWith, with Entry.Programs", name)
}
