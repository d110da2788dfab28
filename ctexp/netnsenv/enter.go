package netnsenv

import (
	"errors"
	"os"
)

// Entry says how a process enters the namespaces of its own in which Envs can be opened. The zero Entry is what
// Enter does.
type Entry struct {
	// RealRoot keeps the host's root instead of entering a user namespace: for XDP, BPF and the kernel's log. What
	// the process then does to anything but the network namespace of an Env, it does to the host.
	RealRoot bool
	// Files are handed down: the i-th is file descriptor 3+i of the process that has entered, where its name is
	// what it was. Open them before entering what the namespaces would close, such as /dev/kmsg.
	Files []*os.File
}

// ErrNotEntered says that Open was called by a process that has not entered namespaces of its own. It is a
// programmer's slip and not a missing ability: it does not answer to errors.ErrUnsupported.
var ErrNotEntered = errors.New(`netnsenv: this process has not entered namespaces of its own:
	in tests, add          func TestMain(m *testing.M) { ctexp.Main(m) }
	in programs, call      netnsenv.Enter() first thing in main
	or, without either,    go test -exec 'unshare -Urm'`)

// Enter puts the process into user and mount namespaces of its own, in which it is root and may open Envs, by
// executing the same binary again; the first process then only waits, hands signals on and ends as the second one
// does, so that Enter returns in the second one alone. There it returns at once, and again in whatever programs that one
// starts. Call it first thing in main, on the main goroutine; tests call ctexp.Main.
//
// No privilege is needed, and root is treated like everybody else. Where user namespaces are refused, but the
// process has CAP_SYS_ADMIN and CAP_NET_ADMIN, it goes on with those. Where it has neither, Enter returns all the
// same and Open says what is missing.
//
// In the namespaces /run is private, so that iptables takes no lock of the host. The network namespace stays the
// host's: localhost is what it was; each Env has a network namespace of its own.
func Enter() { EnterWith(Entry{}) }
