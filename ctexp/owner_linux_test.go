package ctexp_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// dropped sends a datagram by a program with these attributes and reports whether the host's own rules dropped it.
func dropped(t *testing.T, x *ctexp.Experiment, port int, attr *syscall.SysProcAttr) bool {
	t.Helper()
	c := x.Env.Program(t.Context(), "send", fmt.Sprintf("192.0.2.1:%d", port), "198.18.0.2:9")
	c.SysProcAttr = attr
	_, err := c.Output()
	if err != nil && !strings.Contains(err.Error(), "operation not permitted") {
		ctexp.Require(t, "send", err)
	}
	left := 0
	for _, f := range x.Frames(packet.Match{Proto: nf.UDP, Src: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(port))}) {
		if f.Dir == packet.Out {
			left++
		}
	}
	if left > 1 || left == 1 && err != nil {
		t.Errorf("port %d: %d packets left the host: %v", port, left, err)
	}
	return left == 0
}

// A service mesh's rule matches what its proxy sends, which runs as a user of its own, and nothing else.
func TestRulesMatchTheOwnerOfASocket(t *testing.T) {
	t.Parallel()
	for name, rules := range map[string]netnsenv.Ruleset{
		"nft":             netnsenv.NFT("table ip t { chain c { type filter hook output priority filter; meta skuid 1337 counter drop; }; }"),
		"iptables-nft":    netnsenv.IPTables(netnsenv.IPTablesNFT, "-A OUTPUT -m owner --uid-owner 1337 -j DROP"),
		"iptables-legacy": netnsenv.IPTables(netnsenv.IPTablesLegacy, "-A OUTPUT -m owner --uid-owner 1337 -j DROP"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := ctexp.New(t, netnsenv.Config{Rules: []netnsenv.Ruleset{rules}})
			as := func(id uint32) *syscall.SysProcAttr {
				return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id}}
			}
			got := [3]bool{dropped(t, x, 5001, as(1337)), dropped(t, x, 5002, as(1338)), dropped(t, x, 5003, nil)}
			if want := [3]bool{true, false, false}; got != want {
				t.Errorf("dropped of the users 1337, 1338 and root: %v, want %v", got, want)
			}
		})
	}
}

// cgroup makes a cgroup of the unified hierarchy and returns its path there, with the open directory.
func cgroup(t *testing.T) (path string, dir *os.File) {
	t.Helper()
	lack := &nf.UnsupportedError{Need: "cgroups", Hint: "run as root, or with a delegated cgroup (systemd-run --user -p Delegate=yes)"}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	ctexp.Require(t, "read mounts", err)
	own, err := os.ReadFile("/proc/self/cgroup")
	ctexp.Require(t, "read cgroup", err)
	root, inside := "", ""
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); strings.Contains(line, " - cgroup2 ") {
			root = f[4]
		}
	}
	for line := range strings.Lines(string(own)) {
		if p, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			inside = p
		}
	}
	name := fmt.Sprintf("ctexp-%d", os.Getpid())
	full := filepath.Join(root, inside, name)
	if root == "" {
		lack.Err = os.ErrNotExist
		ctexp.Require(t, "find cgroup2", lack)
	}
	if err := os.Mkdir(full, 0o755); err != nil {
		lack.Err = err
		ctexp.Require(t, "make a cgroup", lack)
	}
	t.Cleanup(func() {
		if err := os.Remove(full); err != nil {
			t.Error(err)
		}
	})
	dir, err = os.Open(full)
	ctexp.Require(t, "open the cgroup", err)
	t.Cleanup(func() { dir.Close() })
	return strings.TrimPrefix(filepath.Join(inside, name), "/"), dir
}

func TestRulesMatchTheCgroupOfASocket(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{})
	path, dir := cgroup(t)
	x.Load(netnsenv.IPTables(netnsenv.IPTablesNFT, "-A OUTPUT -m cgroup --path "+path+" -j DROP"))
	in := &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	got := [2]bool{dropped(t, x, 5001, in), dropped(t, x, 5002, nil)}
	if want := [2]bool{true, false}; got != want {
		t.Errorf("dropped inside and outside of the cgroup: %v, want %v", got, want)
	}
}
