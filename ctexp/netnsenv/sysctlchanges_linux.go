package netnsenv

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/internal/nsthread"
)

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
