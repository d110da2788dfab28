package netnsenv_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/needs"
	"github.com/ctexp/go-ctexp/internal/userns"
)

// nobody is a user that no user namespace of ours has.
const nobody = 4_000_000_000

// What needs a user that the namespace does not have is a lack that names it, before anything was changed.
func TestUsersThatAreNotMappedAreNamed(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	if userns.Has(userns.Users(), nobody) {
		needs.Check(t, &nf.UnsupportedError{Need: "a user namespace of the process's own", Hint: "run it where user namespaces are permitted"})
	}
	load := func(r netnsenv.Ruleset) func() error { return func() error { return r.Load(t.Context(), e) } }
	run := func(c syscall.Credential) func() error {
		return func() error {
			cmd := e.Command(t.Context(), "true")
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &c}
			return cmd.Run()
		}
	}
	for name, do := range map[string]func() error{
		"nft":           load(netnsenv.NFT(fmt.Sprintf("add table ip t\nadd chain ip t c\nadd rule ip t c meta skuid %d drop", uint32(nobody)))),
		"iptables":      load(netnsenv.IPTables(netnsenv.IPTablesNFT, fmt.Sprintf("-A OUTPUT -m owner --gid-owner %d -j DROP", uint32(nobody)))),
		"iptables-save": load(netnsenv.IPTablesSave(netnsenv.IPTablesNFT, fmt.Sprintf("*filter\n-A OUTPUT -m owner --uid-owner %d -j DROP\nCOMMIT\n", uint32(nobody)))),
		"user":          run(syscall.Credential{Uid: nobody}),
		"group":         run(syscall.Credential{Gid: nobody}),
		"groups":        run(syscall.Credential{Groups: []uint32{0, nobody}}),
	} {
		err := do()
		var lack *nf.UnsupportedError
		if !errors.As(err, &lack) || lack.Need != "more users" || !strings.Contains(err.Error(), "id 4000000000 is not mapped") {
			t.Errorf("%s: got %v, want the user as a lack", name, err)
		}
	}
}

// A program may run as another user, which then also dies with the Env.
func TestProgramRunsAsAnotherUser(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	as := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1337, Gid: 1338}}
	c := e.Command(t.Context(), "sh", "-c", "id -u; id -g; readlink /proc/self/ns/net")
	c.SysProcAttr = as
	out, err := c.Output()
	needs.Check(t, err)
	if want := "1337\n1338\n" + netOf(t, e) + "\n"; string(out) != want {
		t.Errorf("got %q, want %q", out, want)
	}
	left := e.Command(t.Context(), "sh", "-c", "sleep 1000 & echo $!; wait")
	left.SysProcAttr = as
	pid, err := start(t, left).AwaitLine(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { // a moment may pass until init has collected it
		st, err := os.ReadFile("/proc/" + pid + "/stat")
		return err != nil || strings.Contains(string(st), ") Z ")
	})
}
