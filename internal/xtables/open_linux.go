package xtables

import (
	"os"
	"os/exec"
	"path/filepath"

	"github.com/coreos/go-iptables/iptables"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Open returns a handle on the variant's program, which it executes once to learn the version. The handle executes
// from whatever thread calls it: call Open, and use what it returns, on a thread that is in the namespace.
//
// Where the program is missing the error is an nf.UnsupportedError whose Need is the variant.
func Open(v Variant, f nf.Family) (*iptables.IPTables, error) {
	path, err := Path(v, f, "")
	if err != nil {
		return nil, err
	}
	proto := iptables.ProtocolIPv4
	if f == nf.IPv6 {
		proto = iptables.ProtocolIPv6
	}
	return iptables.New(iptables.Path(path), iptables.IPFamily(proto), iptables.Timeout(10))
}

// Path returns where the variant's program for a family lies; suffix is "" or "-restore" or "-save". It also looks
// into /usr/sbin and /sbin, which an ordinary user's PATH lacks.
func Path(v Variant, f nf.Family, suffix string) (string, error) {
	name, err := v.Binary(f, suffix)
	if err != nil {
		return "", err
	}
	path, err := LookPath(name)
	if err != nil {
		return "", &nf.UnsupportedError{Need: string(v), Hint: "install iptables, on Debian and Ubuntu: apt-get install iptables", Err: err}
	}
	return path, nil
}

// LookPath is exec.LookPath that also tries the folders of the system's administrator.
func LookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		p := filepath.Join(dir, name)
		if st, serr := os.Stat(p); serr == nil && st.Mode()&0o111 != 0 && !st.IsDir() {
			return p, nil
		}
	}
	return "", err
}
