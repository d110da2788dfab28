package netnsenv

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

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
