package entertest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// failing is a test that fails.
type failing struct{ cleanups []func() }

func (f *failing) Helper()                        {}
func (f *failing) Name() string                   { return "TestFailing" }
func (f *failing) Logf(string, ...any)            {}
func (f *failing) Errorf(string, ...any)          {}
func (f *failing) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }
func (f *failing) Skipf(format string, a ...any)  { panic(fmt.Sprintf(format, a...)) }
func (f *failing) Failed() bool                   { return true }
func (f *failing) Cleanup(c func())               { f.cleanups = append(f.cleanups, c) }

// holdChild is a failing test under CTEXP_HOLD=1: it prints which namespace it has, holds it until it is interrupted
// and then ends well.
func holdChild() {
	f := &failing{}
	x := ctexp.New(f, netnsenv.Config{})
	ns, err := os.Readlink(x.Env.Path())
	fmt.Println(ns, err)
	for _, c := range f.cleanups {
		c()
	}
	fmt.Println("closed", x.Env.FD())
	os.Exit(0)
}

// The line that a held test prints leads into its namespace from outside, and ^C lets go of it.
func TestHeldNamespaceCanBeEntered(t *testing.T) {
	t.Parallel()
	namespaces(t)
	if _, err := exec.LookPath("nsenter"); err != nil {
		needs.Check(t, &nf.UnsupportedError{Need: "nsenter", Hint: "install util-linux", Err: err})
	}
	cmd := again(t, "hold")
	cmd.Env = append(cmd.Env, "CTEXP_HOLD=1", "TMPDIR="+t.TempDir())
	cmd.Stderr = nil
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r, line := bufio.NewReader(out), enterLine(t, said)
	want, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	user := regexp.MustCompile(`--user=(\S+) `).FindStringSubmatch(line)
	if user == nil {
		t.Fatalf("no user namespace in %q", line)
	}
	own, oerr := os.Readlink("/proc/self/ns/user")
	other, err := os.Readlink(user[1])
	if err := errors.Join(oerr, err); err != nil {
		t.Fatal(err)
	}
	if own == other { // under "unshare -Urnm" this is not the outside: a user namespace cannot be entered from within
		line = strings.Replace(line, user[0], "", 1)
	}
	got, err := exec.Command("sh", "-c", line+" readlink /proc/self/ns/net").CombinedOutput()
	if strings.TrimSuffix(want, " <nil>\n") != strings.TrimSpace(string(got)) || err != nil {
		t.Errorf("%s leads to %q, %v; want %q", line, got, err, want)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(r)
	if err := cmd.Wait(); string(rest) != "closed -1\n" || err != nil {
		t.Errorf("after the interrupt: %q, %v", rest, err)
	}
}

// enterLine returns the line with nsenter of what a held test says.
func enterLine(t *testing.T, said io.Reader) string {
	t.Helper()
	var all strings.Builder
	s := bufio.NewScanner(said)
	for s.Scan() {
		all.WriteString(s.Text() + "\n")
		if line := strings.TrimSpace(s.Text()); strings.HasPrefix(line, "nsenter ") {
			go io.Copy(io.Discard, said)
			return line
		}
	}
	t.Fatalf("no nsenter line in %q", all.String())
	return ""
}
