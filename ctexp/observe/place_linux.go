package observe

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nsthread"
)

// Place is a network namespace that somebody else has made: a container's, say. It is a Namespace for Open, which
// changes nothing in it; close it after the Observer. It may be used from any goroutine.
//
// It needs CAP_SYS_ADMIN both in this process's user namespace and in the one that owns the network namespace: for
// other people's containers, root of the host, and no netnsenv.Enter.
type Place struct{ thread *nsthread.Thread }

// At opens the namespace that a path leads to: "/run/netns/blue", "/proc/1234/ns/net". The host's own namespace is
// refused: it is opened by Host alone.
func At(path string) (*Place, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, placeError(err)
	}
	defer f.Close()
	return at(f, false)
}

// AtPID opens the namespace of a process.
func AtPID(pid int) (*Place, error) { return At("/proc/" + strconv.Itoa(pid) + "/ns/net") }

// AtFD opens the namespace that a file descriptor refers to, which stays the caller's.
func AtFD(fd int) (*Place, error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("observe: file descriptor %d: %w", fd, err)
	}
	f := os.NewFile(uintptr(own), fmt.Sprintf("file descriptor %d", fd))
	defer f.Close()
	return at(f, false)
}

// Host opens the network namespace that this process has been started in: on the host itself, the host's.
func Host() (*Place, error) {
	f, err := os.Open(ownNamespace)
	if err != nil {
		return nil, placeError(err)
	}
	defer f.Close()
	return at(f, true)
}

// ownNamespace is the namespace of the main thread, which never enters another.
const ownNamespace = "/proc/self/ns/net"

func at(netns *os.File, mayBeOwn bool) (*Place, error) {
	here, herr := os.Stat(ownNamespace)
	there, terr := netns.Stat()
	if err := errors.Join(herr, terr); err != nil {
		return nil, placeError(err)
	}
	if !mayBeOwn && os.SameFile(here, there) {
		return nil, fmt.Errorf("observe: %s is the namespace of this process itself: to observe that, ask for Host", netns.Name())
	}
	t, err := nsthread.Join(netns)
	if errors.Is(err, unix.EINVAL) {
		return nil, fmt.Errorf("observe: %s is no network namespace: %w", netns.Name(), err)
	}
	if err != nil {
		return nil, placeError(err)
	}
	return &Place{thread: t}, nil
}

func placeError(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return &nf.UnsupportedError{
			Need: "CAP_SYS_ADMIN over the namespace",
			Hint: "run as the host's root, and without netnsenv.Enter, which gives that away",
			Err:  err,
		}
	}
	return fmt.Errorf("observe: %w", err)
}

// Do runs f on a thread that is in the namespace, one call at a time, and returns its error.
func (p *Place) Do(f func() error) error { return p.thread.Do(f) }

// FD returns an open file descriptor of the namespace, good until Close.
func (p *Place) FD() int { return p.thread.FD() }

// Close lets go of the namespace. A second Close does nothing.
func (p *Place) Close() error {
	p.thread.Close()
	return nil
}
