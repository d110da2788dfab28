package netnsenv

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/userns"
)

// ids says which users and groups a new user namespace has.
type ids struct {
	users, groups []syscall.SysProcIDMap
	helpers       bool // newuidmap and newgidmap write the maps, because the process may not
}

// maxIDs is the number of ids that root maps: those of users, programs and containers' users on a usual system.
const maxIDs = 1 << 16

// idMaps returns the ids to try, the most first: for root those that it has, by the same numbers; for an ordinary user, who
// is root inside, what /etc/subuid and /etc/subgid give; for both at last one.
func idMaps() []ids {
	var all []ids
	switch {
	case os.Geteuid() == 0 && hasCaps(unix.CAP_SETUID, unix.CAP_SETGID):
		if m := (ids{users: sameIDs(userns.Users()), groups: sameIDs(userns.Groups())}); len(m.users) > 0 && len(m.groups) > 0 {
			all = append(all, m)
		}
	default:
		if m, ok := subordinate(); ok {
			all = append(all, m)
		}
	}
	return append(all, ids{
		users:  []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
		groups: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
	})
}

// sameIDs maps the first ids of the process's user namespace to themselves.
func sameIDs(ranges []userns.Range) (same []syscall.SysProcIDMap) {
	for _, r := range ranges {
		if r.First < maxIDs {
			size := min(r.Size, maxIDs-r.First)
			same = append(same, syscall.SysProcIDMap{ContainerID: int(r.First), HostID: int(r.First), Size: int(size)})
		}
	}
	return same
}

// subordinate returns the ids that an ordinary user may have by newuidmap(1) and newgidmap(1).
func subordinate() (ids, bool) {
	for _, helper := range []string{"newuidmap", "newgidmap"} {
		if _, err := exec.LookPath(helper); err != nil {
			return ids{}, false
		}
	}
	uids, ok := subordinateIn("/etc/subuid")
	gids, ok2 := subordinateIn("/etc/subgid")
	if !ok || !ok2 {
		return ids{}, false
	}
	own := func(id int) syscall.SysProcIDMap { return syscall.SysProcIDMap{HostID: id, Size: 1} }
	return ids{
		users:   []syscall.SysProcIDMap{own(os.Geteuid()), uids},
		groups:  []syscall.SysProcIDMap{own(os.Getegid()), gids},
		helpers: true,
	}, true
}

// subordinateIn returns the first range of the user in a file in the format of subuid(5), as the ids from 1 on.
func subordinateIn(file string) (syscall.SysProcIDMap, bool) {
	f, err := os.Open(file)
	if err != nil {
		return syscall.SysProcIDMap{}, false
	}
	defer f.Close()
	uid := strconv.Itoa(os.Geteuid())
	name := uid
	if u, err := user.LookupId(uid); err == nil {
		name = u.Username
	}
	for s := bufio.NewScanner(f); s.Scan(); {
		if m, ok := subordinateOf(s.Text(), name, uid); ok {
			return m, true
		}
	}
	return syscall.SysProcIDMap{}, false
}

// subordinateOf returns the range in a line if it belongs to the user.
func subordinateOf(line, name, uid string) (syscall.SysProcIDMap, bool) {
	owner, r, _ := strings.Cut(strings.TrimSpace(line), ":")
	first, size, _ := strings.Cut(r, ":")
	from, err := strconv.ParseUint(first, 10, 32)
	n, err2 := strconv.ParseUint(size, 10, 32)
	if owner != name && owner != uid || err != nil || err2 != nil || n == 0 {
		return syscall.SysProcIDMap{}, false
	}
	return syscall.SysProcIDMap{ContainerID: 1, HostID: int(from), Size: int(min(n, maxIDs-1))}, true
}

// write has newuidmap and newgidmap write the maps of a process.
func (m ids) write(pid int) error {
	for helper, maps := range map[string][]syscall.SysProcIDMap{"newuidmap": m.users, "newgidmap": m.groups} {
		args := []string{strconv.Itoa(pid)}
		for _, r := range maps {
			args = append(args, strconv.Itoa(r.ContainerID), strconv.Itoa(r.HostID), strconv.Itoa(r.Size))
		}
		if out, err := exec.Command(helper, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", helper, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// awaitIDs is the first thing that a process does whose maps newuidmap writes: it waits for them and executes itself again,
// by which it becomes root. Only a process that is root when it is executed has capabilities then (capabilities(7)).
func awaitIDs(e Entry, network string) {
	p := os.NewFile(uintptr(e.idsPipe()), "the pipe that tells of the maps")
	if n, err := p.Read(make([]byte, 1)); n != 1 {
		fmt.Fprintln(os.Stderr, "ctexp: wait for newuidmap:", err)
		syscall.Exit(1)
	}
	setMarker(markerMapped + network)
	err := syscall.Exec("/proc/self/exe", os.Args, os.Environ())
	fmt.Fprintln(os.Stderr, "ctexp: execute the program again:", err)
	syscall.Exit(1)
}

// haveIDs is called in the process that awaitIDs has executed. The kernel has cleared the signal for the death of the parent
// and made the process undumpable, because it gained capabilities (kernel/cred.c, commit_creds). The parent holds the other
// end of the pipe as long as it lives.
func haveIDs(e Entry) {
	_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	fd := []unix.PollFd{{Fd: int32(e.idsPipe())}}
	if n, err := unix.Poll(fd, 0); err == nil && n > 0 {
		syscall.Exit(1) // hung up: the parent died before the signal was set
	}
	unix.Close(e.idsPipe())
}

// likeFD is the file descriptor behind those of Files, of what was seen of the namespaces of Like.
func (e Entry) likeFD() int { return 3 + len(e.Files) }

// idsPipe is the file descriptor behind those.
func (e Entry) idsPipe() int {
	if len(e.Like) > 0 {
		return e.likeFD() + 1
	}
	return e.likeFD()
}

// lackOfUser returns an UnsupportedError for a user that the user namespace does not have, else nil.
func lackOfUser(id uint32) error { return lackOf("user", id, userns.Users()) }

// lackOfGroup is lackOfUser for a group.
func lackOfGroup(id uint32) error { return lackOf("group", id, userns.Groups()) }

func lackOf(what string, id uint32, ranges []userns.Range) error {
	if userns.Has(ranges, id) {
		return nil
	}
	return &nf.UnsupportedError{
		Need: "more users", Hint: "run as root, or install newuidmap (package uidmap) and give the user a range in /etc/subuid and /etc/subgid",
		Err: fmt.Errorf("%s id %d is not mapped in the user namespace", what, id),
	}
}

// checkCredential returns an UnsupportedError if a program cannot run under the credential, and makes one possible that has no
// groups where their list cannot be changed (user_namespaces(7), /proc/PID/setgroups).
func checkCredential(c *syscall.Credential) error {
	if c == nil {
		return nil
	}
	errs := []error{lackOfUser(c.Uid), lackOfGroup(c.Gid)}
	for _, g := range c.Groups {
		errs = append(errs, lackOfGroup(g))
	}
	if deny, err := os.ReadFile("/proc/self/setgroups"); err == nil && strings.TrimSpace(string(deny)) == "deny" && len(c.Groups) == 0 {
		c.NoSetGroups = true
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
