package netnsenv

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// errnos are those that the system calls of an Env return now and then, whatever the machine has.
var errnos = []unix.Errno{
	unix.EPERM, unix.ENOENT, unix.EINTR, unix.EIO, unix.ENXIO, unix.EAGAIN, unix.ENOMEM, unix.EACCES, unix.EBUSY, unix.EEXIST, unix.ENODEV,
	unix.EINVAL, unix.ENFILE, unix.EMFILE, unix.ENOSPC, unix.EMSGSIZE, unix.EPROTONOSUPPORT, unix.EOPNOTSUPP, unix.EAFNOSUPPORT,
	unix.EADDRINUSE, unix.ENOBUFS, unix.ETIMEDOUT, unix.ENOSYS, unix.EUSERS,
}

// Each lack has its own proofs. Any other error is one that a test fails with.
func TestOnlyAProofMakesALack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		make  func(error) error
		proof []unix.Errno
	}{
		{"ctnetlink", func(err error) error { return lackIf(err, ctnetlinkLack, noSubsystem...) }, []unix.Errno{unix.EINVAL, unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT}},
		{"expressions", func(err error) error { return lackIf(err, nf.UnsupportedError{Need: "x", Hint: "y"}, noExpression...) }, []unix.Errno{unix.ENOENT, unix.EOPNOTSUPP}},
		{"namespaces", namespaceError, []unix.Errno{unix.EPERM, unix.ENOSPC}},
		{"enter", func(err error) error { return enteredBy(refusedBy(markerRefused, err)) }, []unix.Errno{unix.EPERM, unix.EACCES, unix.EINVAL, unix.ENOSPC, unix.ENOSYS, unix.EUSERS}},
		{"real root", func(err error) error { return enteredBy(refusedBy(markerNotRoot, err)) }, []unix.Errno{unix.EPERM, unix.EACCES, unix.EINVAL, unix.ENOSPC, unix.ENOSYS, unix.EUSERS}},
		{"tun", tunError, []unix.Errno{unix.EPERM, unix.ENOENT, unix.ENXIO, unix.EACCES, unix.ENODEV}},
		{"any other", func(err error) error { return err }, nil},
	} {
		for _, errno := range errnos {
			err := noLack(tt.make(fmt.Errorf("ask: %w", os.NewSyscallError("call", errno))))

			var lack *nf.UnsupportedError
			proven := slices.Contains(tt.proof, errno)
			if errors.As(err, &lack) != proven || errors.Is(err, errors.ErrUnsupported) != proven {
				t.Errorf("%s: %v: %v is unsupported: %v, want %v", tt.name, errno, err, !proven, proven)
			}
			if proven && (lack.Need == "" || lack.Hint == "" || lack.Err == nil) {
				t.Errorf("%s: %v: %#v has no need, hint or cause", tt.name, errno, lack)
			}
			if !strings.Contains(err.Error(), errno.Error()) {
				t.Errorf("%s: %q does not say %q", tt.name, err, errno)
			}
		}
	}
}

// The error of a wrong request still is what it is, but no lack.
func TestRefusalIsItsCause(t *testing.T) {
	t.Parallel()
	err := noLack(fmt.Errorf("add a chain: %w", os.NewSyscallError("sendmsg", unix.EOPNOTSUPP)))

	var errno unix.Errno
	var call *os.SyscallError
	if !errors.Is(err, unix.EOPNOTSUPP) || !errors.As(err, &errno) || !errors.As(err, &call) || errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%#v", err)
	}
}

// A kernel has no hook egress if it says so. A device that has gone is no reason not to count.
func TestOnlyTheHookItselfIsNoEgress(t *testing.T) {
	t.Parallel()
	for _, errno := range errnos {
		err := fmt.Errorf("flush: %w", os.NewSyscallError("recvmsg", errno))
		if lacks := lacksEgress(err); lacks != (errno == unix.EOPNOTSUPP) {
			t.Errorf("%v: no hook: %v", errno, lacks)
		}
	}
}
