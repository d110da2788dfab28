package netnsenv_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"github.com/ti-mo/conntrack"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// networkOf returns the network namespace of the calling thread.
func networkOf(t testing.TB) string {
	t.Helper()
	ns, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

// hasBase skips the test if the process was started so that it has no network namespace of its own.
func hasBase(t testing.TB) {
	t.Helper()
	needs.Check(t, checkOpen(t))
	base, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	if owner, err := unix.IoctlRetInt(int(base.Fd()), unix.NS_GET_USERNS); err != nil {
		needs.Check(t, &nf.UnsupportedError{Need: "a network namespace of the process's own", Hint: "unshare -Urnm instead of -Urm", Err: err})
	} else {
		unix.Close(owner)
	}
}

// Libraries enter a namespace that they are given by descriptor or path, do something and go back.
func TestLibrariesEnterAnEnvAndReturn(t *testing.T) {
	t.Parallel()
	hasBase(t)
	e := open(t, netnsenv.Config{})
	for name, use := range map[string]func() error{
		"mdlayher/netlink Config.NetNS": func() error {
			c, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{NetNS: e.FD()})
			return closing(c, err)
		},
		"ti-mo/conntrack Dial": func() error {
			c, err := conntrack.Dial(&netlink.Config{NetNS: e.FD()})
			return closing(c, err)
		},
		"google/nftables WithNetNSFd": func() error {
			c, err := nftables.New(nftables.WithNetNSFd(e.FD()))
			if err == nil {
				_, err = c.ListTables()
			}
			return err
		},
		// vishvananda/netns Get, Set and Set; also netlink.NewHandleAt, which ignores the error of the latter.
		"setns there and back": func() error {
			return thereAndBack(func() error { return unix.Setns(e.FD(), unix.CLONE_NEWNET) })
		},
		// containernetworking/plugins ns.WithNetNSPath
		"setns by the path and back": func() error {
			return thereAndBack(func() error {
				f, err := os.Open(e.Path())
				if err != nil {
					return err
				}
				defer f.Close()
				return unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
			})
		},
		// vishvananda/netns NewNamed and DeleteNamed
		"unshare with a name and back": func() error {
			return thereAndBack(func() error { return newNamed(filepath.Join("/run/netns", "TestReturn")) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			runtime.LockOSThread()
			before := networkOf(t)
			if err := use(); err != nil {
				t.Fatal(err) // the thread stays locked and ends with the goroutine
			}
			if after := networkOf(t); after != before {
				t.Fatalf("the thread was in %s and is in %s", before, after)
			}
			runtime.UnlockOSThread()
		})
	}
}

func closing(c io.Closer, err error) error {
	if err != nil {
		return err
	}
	return c.Close()
}

// thereAndBack enters another network namespace and then the one in which it began.
func thereAndBack(enter func() error) error {
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close()
	if err := enter(); err != nil {
		return err
	}
	return unix.Setns(int(home.Fd()), unix.CLONE_NEWNET)
}

// newNamed makes a network namespace, gives it a name and takes it away.
func newNamed(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0)
	if err != nil {
		return err
	}
	f.Close()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	if err := unix.Mount("/proc/thread-self/ns/net", path, "none", unix.MS_BIND, ""); err != nil {
		return err
	}
	return errors.Join(unix.Unmount(path, unix.MNT_DETACH), os.Remove(path))
}

func TestBaseHasLocalhostAndNothingElse(t *testing.T) {
	t.Parallel()
	hasBase(t)
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	if len(links) != 1 || links[0].Name != "lo" || links[0].Flags&net.FlagUp == 0 {
		t.Errorf("links %v, want lo alone, up", links)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	defer s.Close()
	r, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if got, err := io.ReadAll(r.Body); string(got) != "hello" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// A goroutine that is started on the Env's thread runs on another thread, and so in the base namespace.
func TestGoroutinesOfDoAreInTheBase(t *testing.T) {
	t.Parallel()
	hasBase(t)
	e := open(t, netnsenv.Config{})
	base, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	var there, goroutine string
	err = e.Do(func() error {
		there = networkOf(t)
		done := make(chan struct{})
		go func() {
			defer close(done)
			goroutine = networkOf(t)
		}()
		<-done
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := [2]string{netOf(t, e), base}; [2]string{there, goroutine} != want {
		t.Errorf("Do ran in %s and its goroutine in %s, want %s", there, goroutine, want)
	}
}

func netOf(t testing.TB, e *netnsenv.Env) string {
	t.Helper()
	ns, err := os.Readlink(e.Path())
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

// The name of a network namespace is not seen on the host, where nothing of a program stays behind.
func TestNamesOfNamespacesArePrivate(t *testing.T) {
	t.Parallel()
	needs.Check(t, checkOpen(t))
	f, err := os.CreateTemp("/run/netns", "x")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	defer os.Remove(f.Name())
	var st unix.Statfs_t
	if err := unix.Statfs("/run/netns", &st); err != nil {
		t.Fatal(err)
	}
	var run unix.Statfs_t
	if err := unix.Statfs("/run", &run); err != nil {
		t.Fatal(err)
	}
	if st.Fsid != run.Fsid {
		t.Errorf("/run/netns is in another file system than the private /run")
	}
}
