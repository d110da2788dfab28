package netnsenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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

// privateRun mounts a file system on /run in this mount namespace, so that the lock of iptables (/run/xtables.lock) and
// the names of network namespaces (/run/netns) are not shared with other processes. All other files there, and the names
// that exist, are bind-mounted into it, so that name resolution and the sockets of services still work.
func privateRun() error {
	// The host's /run remains accessible through this descriptor.
	old, err := os.Open("/run")
	if err != nil {
		return err
	}
	defer old.Close()
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mount a private /run: %w", err)
	}
	from := fmt.Sprintf("/proc/self/fd/%d", old.Fd())
	if err := bindAll(from, "/run", "xtables.lock", "netns"); err != nil {
		return err
	}
	if os.Mkdir("/run/netns", 0o755) == nil {
		_ = bindAll(filepath.Join(from, "netns"), "/run/netns") // there need not be any
	}
	return nil
}

// bindAll bind-mounts what is in one directory into another, without some names.
func bindAll(from, to string, without ...string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !slices.Contains(without, e.Name()) {
			bindAgain(filepath.Join(from, e.Name()), filepath.Join(to, e.Name()), e)
		}
	}
	return nil
}

// bindAgain bind-mounts a directory entry to its old path. It ignores errors, because this package does not need the
// entry.
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
