package netnsenv

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// hasCaps reports whether the calling thread has all of the capabilities in its effective set.
func hasCaps(caps ...uint) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return false
	}
	for _, c := range caps {
		if data[c/32].Effective&(1<<(c%32)) == 0 {
			return false
		}
	}
	return true
}

// userNamespacesError wraps the refusal of a user namespace, or of the capabilities in it, with the switch that is
// responsible for it on this machine.
func userNamespacesError(cause error) error {
	hint := "a container needs --security-opt seccomp=unconfined, or CAP_SYS_ADMIN and CAP_NET_ADMIN"
	for _, s := range []struct{ file, refuses, hint string }{
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or run as root"},
		{"/proc/sys/kernel/unprivileged_userns_clone", "0", "sudo sysctl -w kernel.unprivileged_userns_clone=1, or run as root"},
		{"/proc/sys/user/max_user_namespaces", "0", "sudo sysctl -w user.max_user_namespaces=10000"},
	} {
		if v, err := os.ReadFile(s.file); err == nil && strings.TrimSpace(string(v)) == s.refuses {
			hint = s.hint
			break
		}
	}
	return &nf.UnsupportedError{Need: "user namespaces", Hint: hint, Err: cause}
}
