package netnsenv

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nsthread"
)

// baseline are the values that a new namespace may have from the host (net/ipv4/devinet.c, devinet_init_net), in the
// order of writing: forwarding resets others.
var baseline = []setting{
	{"net/ipv4/conf/*/forwarding", "0"},
	{"net/ipv4/conf/*/rp_filter", "0"},
	{"net/ipv4/conf/*/accept_redirects", "1"},
	{"net/ipv4/conf/*/send_redirects", "1"},
	{"net/ipv4/conf/*/accept_local", "0"},
	{"net/ipv4/conf/*/route_localnet", "0"},
	{"net/ipv4/conf/*/log_martians", "0"},
}

// conntrackBaseline is what the entries of a namespace have beside what they must have.
var conntrackBaseline = []setting{
	{keyEvents, "1"}, // 2, the default since 5.19, would make events depend on listeners anywhere on the host
	// When an entry came, and since 6.14 when an event happened. It takes no memory: what an entry has beside the rest comes in
	// pieces of 128 bytes (net/netfilter/nf_conntrack_extend.c, NF_CT_EXT_PREALLOC), of which it has one for its events.
	{"net/netfilter/nf_conntrack_timestamp", "1"},
}

// quietIPv6 is how IPv6 makes no noise where an experiment wants it, and noIPv6 where it does not.
var (
	quietIPv6 = []setting{
		{"net/ipv6/conf/*/disable_ipv6", "0"},
		{"net/ipv6/conf/*/forwarding", "0"},
		{"net/ipv6/conf/*/accept_dad", "0"},
		{"net/ipv6/conf/*/router_solicitations", "0"},
		{"net/ipv6/conf/*/accept_ra", "0"},
		{"net/ipv6/conf/*/addr_gen_mode", "1"}, // none: no link-local address by itself
	}
	noIPv6 = []setting{{"net/ipv6/conf/*/disable_ipv6", "1"}}
)

// setting is a value of a file below /proc/sys; the star stands for all links that there are and that will be.
type setting struct{ key, value string }

// setBaseline makes the namespace independent of the host, for all links to come.
func (e *Env) setBaseline() error {
	ipv6 := noIPv6
	if e.hasIPv6() {
		ipv6 = quietIPv6
	}
	return e.Do(func() error {
		for _, s := range append(slices.Clip(baseline), ipv6...) {
			for _, scope := range []string{"all", "default"} {
				err := e.setSysctl(strings.Replace(s.key, "*", scope, 1), s.value)
				// A kernel without IPv6 has no files for it.
				if err != nil && !(strings.HasPrefix(s.key, "net/ipv6/") && errors.Is(err, os.ErrNotExist)) {
					return err
				}
			}
		}
		for _, s := range conntrackBaseline {
			if err := e.setSysctl(s.key, s.value); err != nil && !errors.Is(err, os.ErrNotExist) { // the kernel is built without
				return err
			}
		}
		return nil
	})
}

// setConfigured writes the sysctls of the Config: those that belong to a link when it is there, all others before.
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
	sort.Strings(keys)
	for _, name := range keys {
		if err := e.SetSysctl(name, e.cfg.Sysctls[name]); err != nil {
			return err
		}
	}
	return nil
}

func (e *Env) belongsToLink(key string) bool {
	for _, l := range e.cfg.Links {
		if strings.Contains(key, "/"+l.Name+"/") {
			return true
		}
	}
	return false
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

// SetSysctl sets a sysctl of the namespace, what the Env itself has set not excepted. Only names below "net." are taken: others belong to the whole machine.
func (e *Env) SetSysctl(name, value string) error {
	key, err := sysctlKey(name)
	if err != nil {
		return err
	}
	return sysctlError(name, e.Do(func() error {
		if err := e.writeSysctl(key, value); err != nil {
			return err
		}
		e.noteSysctl(key, value, ByConfig)
		return nil
	}))
}

// sysctlKey turns a dotted name into its path below /proc/sys: slashes and dots change places, as in sysctl(8).
func sysctlKey(name string) (string, error) {
	key := swapDots(name)
	if !strings.HasPrefix(key, "net/") || strings.Contains(key, "..") {
		return "", fmt.Errorf("sysctl %q: want a name that begins with \"net.\": no other belongs to the namespace", name)
	}
	return key, nil
}

func sysctlError(name string, err error) error {
	switch {
	case err == nil || errors.Is(err, ErrClosed):
		return err
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("sysctl %s: it does not exist in this namespace: %w", name, err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("sysctl %s: it is read-only in this namespace: %w", name, err)
	}
	return fmt.Errorf("sysctl %s: %w", name, err)
}

// setSysctl sets a sysctl for the Env itself.
func (e *Env) setSysctl(key, value string) error {
	return e.Do(func() error {
		if err := e.writeSysctl(key, value); err != nil {
			return err
		}
		e.noteSysctl(key, value, ByCtexp)
		return nil
	})
}

// writeSysctl writes a value that does not stay.
func (e *Env) writeSysctl(key, value string) error {
	return e.Do(func() error {
		// Without O_CREATE: in /proc that is refused with an error that hides the real one.
		f, err := os.OpenFile("/proc/sys/"+key, os.O_WRONLY, 0)
		if errors.Is(err, unix.EROFS) {
			return &nf.UnsupportedError{Need: "a writable /proc/sys", Hint: "docker run --security-opt systempaths=unconfined, or --privileged", Err: err}
		}
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteString(value)
		return err
	})
}

// readFile reads a file of /proc as the namespace shows it.
func (e *Env) readFile(path string) (s string, err error) {
	err = e.Do(func() error {
		b, err := os.ReadFile(path)
		s = string(b)
		return err
	})
	return s, err
}

// sysctlWrite is what was written into a sysctl last.
type sysctlWrite struct {
	by    SysctlSetter
	value string
}

// noteSysctl remembers, on the thread, who has set a sysctl.
func (e *Env) noteSysctl(key, value string, by SysctlSetter) {
	if e.sysctls == nil {
		e.sysctls = map[string]sysctlWrite{}
	}
	e.sysctls[key] = sysctlWrite{by, value}
}

// SysctlChanges returns the sysctls below "net." that are not as in a new namespace of this kernel, whoever has set them,
// sorted by name: those of Config.Sysctls and SetSysctl, what the Env has set itself, and what programs inside have. Both
// values are read anew with each call, for which it makes a namespace: some tens of milliseconds. Counters and what belongs to a link are
// passed over, except for the latter where ctexp or the Config has set it; its Before is that of "default".
//
// It returns none if the Env is closed or a new namespace cannot be made.
func (e *Env) SysctlChanges() []SysctlChange {
	fresh, err := freshSysctls()
	if err != nil {
		return nil
	}
	var out []SysctlChange
	_ = e.Do(func() error { // if it is closed there are none
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

// setter returns who has set a sysctl to what it is now. What is set for "all" links the kernel sets for each of them.
func (e *Env) setter(key, now string) SysctlSetter {
	for _, k := range []string{key, ofScope(key, "all")} {
		if w, ok := e.sysctls[k]; ok && slices.Equal(strings.Fields(w.value), strings.Fields(now)) { // lists come back with tabs
			return w.by
		}
	}
	return ByOther
}

// freshSysctls reads the sysctls of a namespace that is made for it.
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

// noSetting are sysctls that count, or begin something when they are read or written.
var noSetting = []string{"net/netfilter/nf_conntrack_count", "net/ipv4/route/flush", "net/ipv6/route/flush"}

// readSysctls reads all sysctls of the namespace of the calling thread, by their paths below /proc/sys.
func readSysctls() map[string]string {
	const root = "/proc/sys/"
	all := map[string]string{}
	// Some can only be written, some only be read by others: these are passed over.
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

// ofScope returns the key of the value that is for "all" links or, as their "default", for new ones:
// "net/ipv4/conf/default/rp_filter" for "net/ipv4/conf/tun0/rp_filter".
func ofScope(key, scope string) string {
	parts := strings.Split(key, "/")
	if len(parts) == 5 && (parts[2] == "conf" || parts[2] == "neigh") {
		parts[3] = scope
	}
	return strings.Join(parts, "/")
}

// swapDots has slashes and dots change places, which makes a path of a name and a name of a path.
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
