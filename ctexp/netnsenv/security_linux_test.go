package netnsenv_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/needs"
	"github.com/ctexp/go-ctexp/internal/userns"
)

// The process that has started this one is in the host's network. It sees no link of an Env.
func TestHostDoesNotSeeLinks(t *testing.T) {
	t.Parallel()
	hasBase(t)
	const link = "unseen0"
	e := open(t, netnsenv.Config{Links: []netnsenv.LinkConfig{{Name: link, Kind: netnsenv.Veth}}})
	inside := ""
	if err := e.Do(func() error {
		b, err := os.ReadFile("/proc/thread-self/net/dev")
		inside = string(b)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	outside, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", os.Getppid()))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(inside, link) || strings.Contains(string(outside), link) {
		t.Errorf("links inside:\n%s\nand outside:\n%s\nwant %s inside alone", inside, outside, link)
	}
}

// Root of an experiment is nobody special outside: the kernel lets only its own root make devices.
func TestRootInsideIsNotRootOutside(t *testing.T) {
	t.Parallel()
	if !userns.Own() {
		needs.Check(t, &nf.UnsupportedError{Need: "user namespaces", Hint: "run the tests in one", Err: errors.New("this process is in the host's")})
	}
	null := filepath.Join(t.TempDir(), "null")
	err := open(t, netnsenv.Config{}).Do(func() error { return unix.Mknod(null, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))) })
	if !errors.Is(err, unix.EPERM) {
		t.Errorf("a device was made: %v, want EPERM", err)
	}
}

// An Env is no sandbox for programs: they have the files of the user that runs the tests.
func TestProgramsHaveTheFilesOfTheUser(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	file := filepath.Join(t.TempDir(), "file")
	if out, err := e.Command(t.Context(), "sh", "-c", "echo hello >"+file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got, err := os.ReadFile(file); string(got) != "hello\n" || err != nil {
		t.Errorf("the file has %q, %v", got, err)
	}
}
