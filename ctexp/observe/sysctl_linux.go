package observe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// sysctl is an open file of /proc/sys with one number in it. Whose namespace it speaks of was decided when it was
// opened (net/sysctl_net.c, net_ctl_root), so that it can be read from any thread.
type sysctl struct{ file *os.File }

// openSysctl must be called on a thread in the namespace.
func openSysctl(name string) (sysctl, error) {
	f, err := os.Open("/proc/sys/net/netfilter/" + name)
	if errors.Is(err, fs.ErrNotExist) {
		return sysctl{}, &nf.UnsupportedError{
			Need: "nf_conntrack", Hint: "load the module: modprobe nf_conntrack", Err: err,
		}
	}
	if err != nil {
		return sysctl{}, err
	}
	return sysctl{f}, nil
}

func (s sysctl) read() (int, error) {
	var b [32]byte
	n, err := s.file.ReadAt(b[:], 0)
	if err != nil && err != io.EOF {
		return 0, err
	}
	v, err := strconv.Atoi(string(bytes.TrimSpace(b[:n])))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", s.file.Name(), err)
	}
	return v, nil
}

func (s sysctl) close() {
	if s.file != nil {
		_ = s.file.Close()
	}
}
