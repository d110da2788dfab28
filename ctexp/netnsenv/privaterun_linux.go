package netnsenv

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

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
