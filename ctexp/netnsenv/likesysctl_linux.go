package netnsenv

import (
	"errors"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/internal/nsthread"
)

// notLikened are patterns of sysctls that an Env has as it needs them, that do not decide about packets, or that the kernel alone
// sets.
var notLikened = []string{
	"net/netfilter/nf_log/*", "net/netfilter/nf_log_all_netns", "net/netfilter/nf_conntrack_events", "net/netfilter/nf_conntrack_timestamp",
	"net/netfilter/nf_conntrack_log_invalid", "net/netfilter/nf_conntrack_max", "net/nf_conntrack_max", "net/netfilter/nf_conntrack_buckets",
	"net/ipv4/neigh/*/*", "net/ipv6/neigh/*/*", "net/ipv4/ip_forward", "net/ipv4/ping_group_range", "net/ipv4/conf/*/mc_forwarding",
	"net/ipv4/tcp_available_*", "net/ipv4/tcp_fastopen_key", "net/core/*",
}

// likened6 are the sysctls of links for IPv6 that are copied. The others are about what the host sends on its own, which it does not
// in an Env.
var likened6 = []string{
	"forwarding", "hop_limit", "accept_redirects", "accept_source_route", "disable_policy", "drop_unicast_in_l2_multicast", "drop_unsolicited_na",
	"ignore_routes_with_linkdown", "proxy_ndp", "seg6_enabled", "seg6_require_hmac", "rpl_seg_enabled", "ioam6_enabled",
}

// isLikened reports whether a sysctl is copied.
func (l *liking) isLikened(key string) bool {
	if parts := strings.Split(key, "/"); len(parts) == 5 && parts[1] == "ipv6" && parts[2] == "conf" {
		return l.cfg.hasIPv6() && (slices.Contains(likened6, parts[4]) || parts[4] == "disable_ipv6" && parts[3] != "all" && parts[3] != "default")
	}
	return !slices.ContainsFunc(notLikened, func(pattern string) bool { ok, _ := path.Match(pattern, key); return ok })
}

// sysctls copies those that an Env would have otherwise.
func (l *liking) sysctls() error {
	fresh, err := nsthread.New()
	if err != nil {
		return namespaceError(err)
	}
	defer fresh.Close()
	return fresh.Do(func() error {
		l.compareSysctls(readSysctls())
		return nil
	})
}

// compareSysctls copies what differs from the sysctls of a new namespace with the Env's defaults. The calling thread is in such a
// namespace, where each value is tried.
func (l *liking) compareSysctls(env map[string]string) {
	defaults := slices.Concat(baseline, quietIPv6)
	if slices.ContainsFunc(l.cfg.Devices, func(d Device) bool { _, is := d.Kind.(Bridge); return is }) {
		defaults = slices.Concat(defaults, bridgeBaseline)
	}
	for _, s := range defaults {
		for _, scope := range []string{"all", "default"} {
			if key := strings.Replace(s.key, "*", scope, 1); env[key] != "" {
				env[key] = s.value
			}
		}
	}
	l.cfg.Sysctls = map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(env)) {
		value, there := l.seen.Sysctls[key]
		if there && value != env[key] && l.isLikened(key) && isSetting(key) && l.try(key, value) {
			env[key] = value
			l.cfg.Sysctls[swapDots(key)] = value
		}
	}
	l.forward(env)
	for _, f := range l.faces {
		if f.name == "lo" || !l.cfg.hasInterface(f.name) {
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(l.seen.Sysctls)) {
			byDefault, known := env[ofScope(key, "default")]
			isOf := strings.HasPrefix(key, "net/ipv4/conf/"+f.name+"/") || strings.HasPrefix(key, "net/ipv6/conf/"+f.name+"/")
			if value := l.seen.Sysctls[key]; isOf && known && value != byDefault && l.isLikened(key) {
				l.cfg.Sysctls[swapDots(key)] = value
			}
		}
	}
}

// forward adds those that the kernel changes where forwarding is turned on for all links (net/ipv4/devinet.c, inet_forward_change;
// net/ipv6/addrconf.c, addrconf_fixup_forwarding).
func (l *liking) forward(env map[string]string) {
	for _, family := range []string{"ipv4", "ipv6"} {
		if _, changed := l.cfg.Sysctls["net."+family+".conf.all.forwarding"]; !changed {
			continue
		}
		keys := []string{"default/forwarding"}
		if family == "ipv4" {
			keys = append(keys, "all/accept_redirects")
		}
		for _, k := range keys {
			key := "net/" + family + "/conf/" + k
			if value, there := env[key]; there {
				l.cfg.Sysctls[swapDots(key)] = value
			}
		}
	}
}

// isSetting reports whether somebody may write a sysctl in the calling thread's namespace: others tell what the kernel has.
func isSetting(key string) bool {
	const byOwner = 0o200
	info, err := os.Stat("/proc/sys/" + key)
	return err == nil && info.Mode()&byOwner != 0
}

// try sets a sysctl of the calling thread's namespace, which is a new one.
func (l *liking) try(key, value string) bool {
	f, err := os.OpenFile("/proc/sys/"+key, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(value)
		f.Close()
	}
	if err != nil {
		var p *os.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		l.miss(PartSysctl, swapDots(key), "its value %q: %v", value, err)
	}
	return err == nil
}
