package netnsenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/needs"
	"github.com/ctexp/go-ctexp/internal/nsthread"
)

// A process that has opened an Env keeps a hook of each type in a namespace that none of its threads is in.
func TestHooksAreKept(t *testing.T) {
	t.Parallel()
	e, err := Open(t.Context(), Config{})
	needs.Check(t, err)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	kept := keepHooks()
	if kept == nil || kept != keepHooks() {
		t.Fatal("there is no such namespace, or another one each time")
	}
	fd := "/proc/self/fd/" + filepath.Base(kept.Name())
	of, err := os.Readlink(fd)
	if err != nil || !strings.HasPrefix(of, "net:[") {
		t.Errorf("the descriptor is of %q, %v", of, err)
	}
	threads, _ := filepath.Glob("/proc/self/task/*/ns/net")
	for _, thread := range threads {
		if ns, err := os.Readlink(thread); err == nil && ns == of {
			t.Errorf("%s is in the namespace", thread)
		}
	}

	inside, err := nsthread.Join(kept)
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	var got []string
	if err := inside.Do(func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		chains, err := conn.ListChains()
		for _, c := range chains {
			got = append(got, string(rune('0'+c.Table.Family))+" "+c.Name)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	want := []string{"1 hook0", "1 hook1", "1 hook2", "1 hook3", "1 hook4", "5 egress", "5 ingress"}
	if !kernel.EgressHook.Here() {
		want = slices.DeleteFunc(want, func(s string) bool { return s == "5 egress" })
	}
	if !slices.Equal(got, want) {
		t.Errorf("its chains are %q, want %q", got, want)
	}
}

// A program that is executed does not inherit the namespace.
func TestKeptNamespaceIsNotInherited(t *testing.T) {
	t.Parallel()
	e, err := Open(t.Context(), Config{})
	needs.Check(t, err)
	defer e.Close()
	if _, err := exec.LookPath("ls"); err != nil {
		needs.Check(t, &nf.UnsupportedError{Need: "ls", Hint: "install coreutils", Err: err})
	}
	out, err := e.Command(t.Context(), "ls", "-l", "/proc/self/fd").Output()
	if err != nil || strings.Contains(string(out), "net:[") {
		t.Errorf("%v, open files:\n%s", err, out)
	}
}
