package netnsenv

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nsthread"
)

// baseline has the defaults for sysctls that a new namespace may inherit from the host (net/ipv4/devinet.c,
// devinet_init_net), in the order of writing: forwarding resets others.
var baseline = []setting{
	{"net/ipv4/conf/*/forwarding", "0"},
	{"net/ipv4/conf/*/rp_filter", "0"},
	{"net/ipv4/conf/*/accept_redirects", "1"},
	{"net/ipv4/conf/*/send_redirects", "1"},
	{"net/ipv4/conf/*/accept_local", "0"},
	{"net/ipv4/conf/*/route_localnet", "0"},
	{"net/ipv4/conf/*/log_martians", "0"},
}

// conntrackBaseline has the defaults for conntrack.
var conntrackBaseline = []setting{
	{keyEvents, "1"}, // with 2, the default since 5.19, events depend on listeners anywhere on the host
	// The time of an entry's creation and, since 6.14, of an event. It needs no extra memory: extensions of an entry
	// are allocated 128 bytes at a time (net/netfilter/nf_conntrack_extend.c, NF_CT_EXT_PREALLOC), and events need one
	// already.
	{"net/netfilter/nf_conntrack_timestamp", "1"},
}

// quietIPv6 has the sysctls for an Env with IPv6, so that the kernel sends nothing on its own, noIPv6 those for an Env
// without.
var (
	quietIPv6 = []setting{
		{"net/ipv6/conf/*/disable_ipv6", "0"},
		{"net/ipv6/conf/*/forwarding", "0"},
		{"net/ipv6/conf/*/accept_dad", "0"},
		{"net/ipv6/conf/*/router_solicitations", "0"},
		{"net/ipv6/conf/*/accept_ra", "0"},
		{"net/ipv6/conf/*/addr_gen_mode", "1"}, // no link-local address
	}
	noIPv6 = []setting{{"net/ipv6/conf/*/disable_ipv6", "1"}}
)

// bridgeBaseline has the defaults for an Env with a bridge. With br_netfilter, a new namespace has 1, without it is as with 0
// (net/bridge/br_netfilter_hooks.c, br_netfilter_sysctl_default).
var bridgeBaseline = []setting{
	{"net/bridge/bridge-nf-call-iptables", "0"},
	{"net/bridge/bridge-nf-call-ip6tables", "0"},
	{"net/bridge/bridge-nf-call-arptables", "0"},
}

// setting is the value of a file below /proc/sys. The star stands for "all" and "default": all present and future links.
type setting struct{ key, value string }

// setBaseline makes the sysctls of the namespace independent of the host.
func (e *Env) setBaseline() error {
	ipv6 := noIPv6
	if e.hasIPv6() {
		ipv6 = quietIPv6
	}
	return e.do(func() error {
		for _, s := range append(slices.Clip(baseline), ipv6...) {
			for _, scope := range []string{"all", "default"} {
				err := e.setSysctlHere(strings.Replace(s.key, "*", scope, 1), s.value)
				// A kernel without IPv6 has no files for it.
				if err != nil && !(strings.HasPrefix(s.key, "net/ipv6/") && errors.Is(err, os.ErrNotExist)) {
					return err
				}
			}
		}
		others := conntrackBaseline
		if slices.ContainsFunc(e.cfg.Devices, func(d Device) bool { _, is := d.Kind.(Bridge); return is }) {
			others = slices.Concat(others, bridgeBaseline)
		}
		for _, s := range others {
			if err := e.setSysctlHere(s.key, s.value); err != nil && !errors.Is(err, os.ErrNotExist) { // not in this kernel
				return err
			}
		}
		return nil
	})
}

// setConfigured writes the sysctls of the Config that belong to a link or device, or all others.
func (e *Env) setConfigured(ofLinks bool) error {
	var keys []string
	for name := range e.cfg.Sysctls {
		key, err := sysctlKey(name)
		if err != nil {
			return err
		}
		if e.belongsToLink(key) == ofLinks {
			keys = append(keys, name)
		}
	}
	// Forwarding comes first: where it changes, the kernel resets accept_redirects and, of "all", forwarding of each link
	// (net/ipv4/devinet.c, inet_forward_change).
	slices.SortFunc(keys, func(a, b string) int {
		if forwards(a) != forwards(b) {
			if forwards(a) {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	for _, name := range keys {
		if err := e.SetSysctl(name, e.cfg.Sysctls[name]); err != nil {
			return err
		}
	}
	return nil
}

// forwards reports whether a sysctl turns forwarding on.
func forwards(name string) bool {
	return strings.HasSuffix(name, ".forwarding") || name == "net.ipv4.ip_forward"
}

func (e *Env) belongsToLink(key string) bool {
	of := func(name string) bool { return strings.Contains(key, "/"+name+"/") }
	return slices.ContainsFunc(e.cfg.Links, func(l LinkConfig) bool { return of(l.Name) }) ||
		slices.ContainsFunc(e.cfg.Devices, func(d Device) bool { return of(d.Name) })
}

// Sysctl returns the value of a sysctl in the namespace, without the final newline: e.Sysctl("net.ipv4.ip_forward").
func (e *Env) Sysctl(name string) (string, error) {
	key, err := sysctlKey(name)
	if err != nil {
		return "", err
	}
	v, err := e.readFile("/proc/sys/" + key)
	return strings.TrimSuffix(v, "\n"), sysctlError(name, err)
}

// SetSysctl sets a sysctl of the namespace. Only names below "net." are accepted, because others belong to the whole
// machine.
func (e *Env) SetSysctl(name, value string) error {
	key, err := sysctlKey(name)
	if err != nil {
		return err
	}
	defer e.changes()()
	return sysctlError(name, e.do(func() error {
		err := writeSysctl(key, value)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ERANGE) {
			err = fmt.Errorf("the kernel refuses the value %q: %w", value, err)
		}
		if err != nil {
			return err
		}
		e.noteSysctl(key, value, ByConfig)
		return nil
	}))
}

// sysctlKey returns the path of a dotted name below /proc/sys. Slashes and dots are swapped, as in sysctl(8).
func sysctlKey(name string) (string, error) {
	key := swapDots(name)
	if !strings.HasPrefix(key, "net/") || strings.Contains(key, "..") {
		return "", fmt.Errorf("sysctl %q: want a name that begins with \"net.\": others do not belong to the namespace", name)
	}
	return key, nil
}

func sysctlError(name string, err error) error {
	limit := name == "net.netfilter.nf_conntrack_max" || name == "net.nf_conntrack_max"
	switch {
	case err == nil || errors.Is(err, ErrClosed):
		return err
	case limit && (errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission)):
		return fmt.Errorf("sysctl %s: it is the limit of the whole host, which no namespace can change; Config.Room leaves room for n entries: netnsenv.Free(n): %w", name, err)
	case errors.Is(err, os.ErrNotExist) && strings.HasPrefix(name, "net.bridge."):
		return fmt.Errorf("sysctl %s: %w", name, &nf.UnsupportedError{Need: "br_netfilter", Hint: "sudo modprobe br_netfilter", Err: err})
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("sysctl %s: it does not exist in this namespace: %w", name, err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("sysctl %s: it is read-only in this namespace: %w", name, err)
	}
	return fmt.Errorf("sysctl %s: %w", name, err)
}

// setSysctl sets a sysctl as a default of the Env.
func (e *Env) setSysctl(key, value string) error {
	return e.do(func() error { return e.setSysctlHere(key, value) })
}

// setSysctlHere is setSysctl on the thread.
func (e *Env) setSysctlHere(key, value string) error {
	if err := writeSysctl(key, value); err != nil {
		return err
	}
	e.noteSysctl(key, value, ByCtexp)
	return nil
}

// writeSysctl writes a sysctl without recording it.
func (e *Env) writeSysctl(key, value string) error {
	return e.do(func() error { return writeSysctl(key, value) })
}

// writeSysctl writes a sysctl of the namespace of the calling thread, by three system calls: os.File would add the file to the
// poller, which files of /proc refuse or do not need, and Open writes two dozen of them.
func writeSysctl(key, value string) error {
	path := "/proc/sys/" + key
	if locksRTNL(key) {
		if now, err := readProc(path); err == nil && strings.TrimSuffix(now, "\n") == value {
			return nil
		}
		waitForRTNL()
	}
	// Without O_CREATE, with which the error in /proc would be another one.
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		err = &fs.PathError{Op: "open", Path: path, Err: err}
		if errors.Is(err, unix.EROFS) {
			return &nf.UnsupportedError{Need: "a writable /proc/sys", Hint: "docker run --security-opt systempaths=unconfined, or --privileged", Err: err}
		}
		return err
	}
	defer unix.Close(fd)
	n, err := unix.Write(fd, []byte(value))
	switch {
	case err != nil:
		return &fs.PathError{Op: "write", Path: path, Err: err}
	case n < len(value):
		return &fs.PathError{Op: "write", Path: path, Err: io.ErrShortWrite}
	}
	return nil
}

// locksRTNL reports whether the kernel needs the lock of all links to write a sysctl.
func locksRTNL(key string) bool {
	switch key[strings.LastIndexByte(key, '/')+1:] {
	case "forwarding", "ip_forward", "disable_ipv6", "addr_gen_mode":
		return true
	}
	return false
}

// waitForRTNL waits until the lock of all links is free. The kernel does not wait for it when a sysctl is written, but has the
// system call repeated until it gets it (net/ipv6/addrconf.c, addrconf_disable_ipv6; net/ipv4/devinet.c,
// devinet_sysctl_forward; restart_syscall): while another namespace is being deleted, hundreds of times. A question of ethtool
// waits for it (net/ethtool/ioctl.c, dev_ethtool), and directly behind it the lock is mostly free. The sysctl is written in any
// case, so that errors are of no interest.
func waitForRTNL() {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	_, _ = unix.IoctlGetEthtoolDrvinfo(fd, "lo")
}

// readFile reads a file of /proc as the namespace shows it.
func (e *Env) readFile(path string) (s string, err error) {
	err = e.do(func() error {
		s, err = readProc(path)
		return err
	})
	return s, err
}

// readProc reads a file of /proc without adding it to the poller.
func readProc(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	b := make([]byte, 0, 64)
	for {
		n, err := unix.Read(fd, b[len(b):cap(b)])
		if err != nil {
			return "", &fs.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			return string(b), nil
		}
		if b = b[:len(b)+n]; len(b) == cap(b) {
			b = slices.Grow(b, len(b))
		}
	}
}

// sysctlWrite is the last value written to a sysctl.
type sysctlWrite struct {
	by    SysctlSetter
	value string
}

// noteSysctl records who has set a sysctl. It must run on the thread.
func (e *Env) noteSysctl(key, value string, by SysctlSetter) {
	if e.sysctls == nil {
		e.sysctls = map[string]sysctlWrite{}
	}
	e.sysctls[key] = sysctlWrite{by, value}
}

// SysctlChanges returns the sysctls below "net." that differ from those of a new namespace, sorted by name. It includes
// changes by the Env, by Config.Sysctls and SetSysctl, and by programs in the namespace. Each call creates a namespace
// to read the values from, which takes some tens of milliseconds. Counters are left out. Sysctls of a link are left out
// unless ctexp or the Config has set them; their Before is the value of "default".
//
// It returns nil if the Env is closed or a new namespace cannot be created.
func (e *Env) SysctlChanges() []SysctlChange {
	fresh, err := freshSysctls()
	if err != nil {
		return nil
	}
	var out []SysctlChange
	_ = e.do(func() error { // an error means that the Env is closed
		now := readSysctls()
		keys := slices.AppendSeq(slices.Collect(maps.Keys(fresh)), maps.Keys(e.sysctls))
		slices.Sort(keys)
		for _, key := range slices.Compact(keys) {
			before, known := fresh[key]
			if !known {
				before = fresh[ofScope(key, "default")]
			}
			after, there := now[key]
			if there && after != before {
				out = append(out, SysctlChange{Name: swapDots(key), Before: before, After: after, By: e.setter(key, after)})
			}
		}
		return nil
	})
	return out
}

// setter returns who has set a sysctl to its current value. The kernel applies a value for "all" links to each of them, and ip_forward
// to others.
func (e *Env) setter(key, now string) SysctlSetter {
	for _, k := range []string{key, ofScope(key, "all")} {
		if w, ok := e.sysctls[k]; ok && slices.Equal(strings.Fields(w.value), strings.Fields(now)) { // the kernel separates lists by tabs
			return w.by
		}
	}
	if w, ok := e.sysctls["net/ipv4/ip_forward"]; ok && followsForwarding(key, now, w.value) {
		return w.by
	}
	return ByOther
}

// followsForwarding reports whether the kernel has set a sysctl to its current value when ip_forward was set to that value, because it
// does the same for all links and new ones, and does the opposite about redirects (net/ipv4/devinet.c, inet_forward_change).
func followsForwarding(key, now, forward string) bool {
	switch ofScope(key, "all") {
	case "net/ipv4/conf/all/forwarding":
		return now == forward
	case key:
		return key == "net/ipv4/conf/all/accept_redirects" && (now == "0") != (forward == "0")
	}
	return false
}

// freshSysctls reads the sysctls of a new namespace.
func freshSysctls() (all map[string]string, err error) {
	t, err := nsthread.New()
	if err != nil {
		return nil, err
	}
	defer t.Close()
	err = t.Do(func() error {
		all = readSysctls()
		return nil
	})
	return all, err
}

// noSetting has sysctls that are counters, or that trigger an action.
var noSetting = []string{"net/netfilter/nf_conntrack_count", "net/ipv4/route/flush", "net/ipv6/route/flush"}

// readSysctls reads all sysctls of the namespace of the calling thread, by their paths below /proc/sys.
func readSysctls() map[string]string {
	const root = "/proc/sys/"
	all := map[string]string{}
	// Files that cannot be read are skipped: some are write-only, some are restricted to other users.
	_ = filepath.WalkDir(root+"net", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		key := strings.TrimPrefix(path, root)
		if slices.Contains(noSetting, key) {
			return nil
		}
		if v, err := os.ReadFile(path); err == nil {
			all[key] = strings.TrimSuffix(string(v), "\n")
		}
		return nil
	})
	return all
}

// ofScope returns the key of the value for "all" links or the "default" for new links:
// "net/ipv4/conf/default/rp_filter" for "net/ipv4/conf/tun0/rp_filter".
func ofScope(key, scope string) string {
	parts := strings.Split(key, "/")
	if len(parts) == 5 && (parts[2] == "conf" || parts[2] == "neigh") {
		parts[3] = scope
	}
	return strings.Join(parts, "/")
}

// swapDots swaps slashes and dots, which converts a name to a path and a path to a name.
func swapDots(s string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '.':
			return '/'
		case '/':
			return '.'
		}
		return r
	}, s)
}
