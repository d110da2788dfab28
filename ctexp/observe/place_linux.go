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

// Place is a network namespace that another program created, such as that of a container. It implements Namespace for
// Open, which changes nothing in it. Close it after the Observer. It is safe for concurrent use.
//
// It requires CAP_SYS_ADMIN in this process's user namespace and in the one that owns the network namespace. For
// containers of others that means root in the initial user namespace, without netnsenv.Enter.
type Place struct{ thread *nsthread.Thread }

// At opens the namespace at a path such as "/run/netns/blue" or "/proc/1234/ns/net". It refuses the namespace of this
// process; use Host for that.
func At(path string) (*Place, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, placeError(err)
	}
	defer f.Close()
	return at(f, false)
}

// AtPID opens the network namespace of a process.
func AtPID(pid int) (*Place, error) { return At("/proc/" + strconv.Itoa(pid) + "/ns/net") }

// AtFD opens the network namespace of a file descriptor, which remains the caller's.
func AtFD(fd int) (*Place, error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("observe: file descriptor %d: %w", fd, err)
	}
	f := os.NewFile(uintptr(own), fmt.Sprintf("file descriptor %d", fd))
	defer f.Close()
	return at(f, false)
}

// Host opens the network namespace in which this process was started.
func Host() (*Place, error) {
	f, err := os.Open(ownNamespace)
	if err != nil {
		return nil, placeError(err)
	}
	defer f.Close()
	return at(f, true)
}

// ownNamespace is the namespace of the main thread, which never enters another one.
const ownNamespace = "/proc/self/ns/net"

func at(netns *os.File, mayBeOwn bool) (*Place, error) {
	here, herr := os.Stat(ownNamespace)
	there, terr := netns.Stat()
	if err := errors.Join(herr, terr); err != nil {
		return nil, placeError(err)
	}
	if !mayBeOwn && os.SameFile(here, there) {
		return nil, fmt.Errorf("observe: %s is the namespace of this process itself; use Host to observe it", netns.Name())
	}
	t, err := nsthread.Join(netns)
	if errors.Is(err, unix.EINVAL) {
		return nil, fmt.Errorf("observe: %s is not a network namespace: %w", netns.Name(), err)
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
			Hint: "run as root in the initial user namespace, without netnsenv.Enter, which drops the capability",
			Err:  err,
		}
	}
	return fmt.Errorf("observe: %w", err)
}

// Do runs f on a thread in the namespace, one call at a time, and returns its error.
func (p *Place) Do(f func() error) error { return p.thread.Do(f) }

// FD returns a file descriptor of the namespace that is valid until Close.
func (p *Place) FD() int { return p.thread.FD() }

// Close releases the namespace. A second Close does nothing.
func (p *Place) Close() error {
	p.thread.Close()
	return nil
}
