package netnsenv

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// The network that the process is in, in marker.
const (
	networkOwn   = ", own network"
	networkAsked = ", host's network by Entry.HostNetwork"
	networkNone  = ", host's network for lack of another"
)

// cutNetwork returns a marker without the network, and the network.
func cutNetwork(mark string) (rest, network string) {
	for _, network := range []string{networkOwn, networkAsked, networkNone} {
		if rest, found := strings.CutSuffix(mark, network); found {
			return rest, network
		}
	}
	return mark, ""
}

// settle prepares the namespaces that the process has just been executed in. What fails is told but does not end the
// program, because Envs work without it.
func settle(network string) {
	if err := privateRun(); err != nil {
		fmt.Fprintln(os.Stderr, "ctexp: using the host's /run:", err)
	}
	if network == networkOwn {
		if err := loopbackUp(); err != nil {
			fmt.Fprintln(os.Stderr, "ctexp: no localhost:", err)
		}
	}
}

// adopt prepares the namespaces that unshare has made for the process and its children, once.
var adopt = sync.OnceValue(func() error {
	if err := privateRun(); err != nil {
		return err
	}
	setMarker("in " + mountNamespace())
	if !mayReturn() {
		return nil
	}
	return loopbackUp()
})

// loopbackUp sets lo up in the network namespace of the calling thread. Without it, a host cannot reach its own addresses.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("link \"lo\": open a socket: %w", err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("link \"lo\": set up: %w", err)
	}
	return nil
}

// mayReturn reports whether a thread may enter the base network namespace, that of the main thread: only if it belongs to
// the process's user namespace or a descendant (net/core/net_namespace.c, netns_install). The kernel tells the owner of no
// others (kernel/user_namespace.c, ns_get_owner).
func mayReturn() bool {
	netns, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return false
	}
	defer netns.Close()
	owner, err := unix.IoctlRetInt(int(netns.Fd()), unix.NS_GET_USERNS)
	if err == nil {
		unix.Close(owner)
	}
	return err == nil
}

// stuck returns why a thread that has entered an Env cannot go back to the base network namespace, or "" if it can.
func stuck() string {
	if mayReturn() {
		return ""
	}
	const stays = "a thread that has entered an Env cannot go back to the host's network, which "
	switch _, network := cutNetwork(os.Getenv(marker)); {
	case network == networkAsked:
		return stays + "the program has asked for by netnsenv.Entry.HostNetwork"
	case network == networkNone:
		return stays + "the program has because no network namespace could be made for it"
	}
	return stays + "unshare -Urm has left to the program: unshare -Urnm gives it a network namespace of its own"
}

// explainStuck adds to an error of somebody's function why its thread cannot go back, if it may be about that.
func explainStuck(err error) error {
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	if why := stuck(); why != "" {
		return fmt.Errorf("%w (%s)", err, why)
	}
	return err
}
