package netnsenv_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/internal/kernel"
)

// SysctlChanges returns sysctls that differ from those of a new namespace, and who has set them.
func TestSysctlChangesHaveTheirSetter(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{Sysctls: map[string]string{
		"net.ipv4.tcp_ecn": "1", "net.ipv4.conf.tun0.rp_filter": "2", "net.ipv4.tcp_rmem": "4096 9999 131072", "net.ipv4.tcp_sack": "1",
	}})
	if err := e.SetSysctl("net.netfilter.nf_conntrack_log_invalid", "6"); err != nil {
		t.Fatal(err)
	}
	write := "echo 0 >/proc/sys/net/netfilter/nf_conntrack_tcp_loose; echo 0 >/proc/sys/net/netfilter/nf_conntrack_timestamp; echo 0 >/proc/sys/net/ipv4/tcp_ecn"
	if out, err := e.Command(t.Context(), "sh", "-c", write).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}

	ofNewLinks, err := e.Sysctl("net.ipv4.conf.default.rp_filter")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]netnsenv.SysctlChange{}
	changes := e.SysctlChanges()
	for _, c := range changes {
		got[c.Name] = c
	}

	const events = "net.netfilter.nf_conntrack_events"
	wantEvents := netnsenv.SysctlChange{Name: events, Before: got[events].Before, After: "1", By: netnsenv.ByCtexp}
	if !kernel.EventsOnDemand.Here() {
		wantEvents = netnsenv.SysctlChange{} // 1 is the default
	}
	if diff := cmp.Diff(wantEvents, got[events]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, want := range []netnsenv.SysctlChange{
		{Name: "net.netfilter.nf_conntrack_log_invalid", Before: "0", After: "6", By: netnsenv.ByConfig},
		{Name: "net.netfilter.nf_log.2", Before: got["net.netfilter.nf_log.2"].Before, After: "nfnetlink_log", By: netnsenv.ByCtexp},
		{Name: "net.netfilter.nf_conntrack_tcp_loose", Before: "1", After: "0", By: netnsenv.ByOther},
		{Name: "net.ipv4.tcp_ecn", Before: "2", After: "0", By: netnsenv.ByOther},
		{Name: "net.ipv4.tcp_rmem", Before: got["net.ipv4.tcp_rmem"].Before, After: "4096\t9999\t131072", By: netnsenv.ByConfig},
		{Name: "net.ipv4.conf.tun0.rp_filter", Before: ofNewLinks, After: "2", By: netnsenv.ByConfig},
	} {
		if diff := cmp.Diff(want, got[want.Name]); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	for _, name := range []string{"net.ipv6.conf.all.disable_ipv6", "net.ipv6.conf.lo.disable_ipv6"} {
		if _, err := e.Sysctl(name); err == nil && got[name].By != netnsenv.ByCtexp { // a kernel without IPv6 has none
			t.Errorf("%s: %+v", name, got[name])
		}
	}
	for _, name := range []string{"net.ipv4.tcp_sack", "net.netfilter.nf_conntrack_timestamp", "net.netfilter.nf_conntrack_count"} {
		if c, ok := got[name]; ok {
			t.Errorf("%+v is no change", c)
		}
	}
	if !slices.IsSortedFunc(changes, func(a, b netnsenv.SysctlChange) int { return strings.Compare(a.Name, b.Name) }) {
		t.Errorf("not in order: %v", changes)
	}
}

func BenchmarkSysctlChanges(b *testing.B) {
	e := open(b, netnsenv.Config{})
	for b.Loop() {
		e.SysctlChanges()
	}
}

// What the kernel sets along with ip_forward has the same setter, and what a program sets otherwise has not.
func TestForwardingSetsOthers(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{Sysctls: map[string]string{"net.ipv4.ip_forward": "1"}})
	by := func(name string) netnsenv.SysctlSetter {
		for _, c := range e.SysctlChanges() {
			if c.Name == name {
				return c.By
			}
		}
		return "nobody"
	}
	forwarding, redirects := "net.ipv4.conf.lo.forwarding", "net.ipv4.conf.all.accept_redirects"
	for name, want := range map[string]netnsenv.SysctlSetter{
		"net.ipv4.ip_forward": netnsenv.ByConfig, "net.ipv4.conf.all.forwarding": netnsenv.ByConfig,
		"net.ipv4.conf.default.forwarding": netnsenv.ByConfig, forwarding: netnsenv.ByConfig, redirects: netnsenv.ByConfig,
	} {
		if got := by(name); got != want {
			t.Errorf("%s is set by %s, want %s", name, got, want)
		}
	}
	err := e.Do(func() error {
		return os.WriteFile("/proc/sys/net/ipv4/conf/default/accept_redirects", []byte("0"), 0)
	})
	if got := by("net.ipv4.conf.default.accept_redirects"); err != nil || got != netnsenv.ByOther {
		t.Errorf("%v, what a program has set is set by %s", err, got)
	}
}
