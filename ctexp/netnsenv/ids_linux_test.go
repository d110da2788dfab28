package netnsenv_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

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
		"nft, set":      load(netnsenv.NFT(fmt.Sprintf("table ip s { set s { type uid; elements = { %d }; }; chain c { skuid @s drop; }; }", uint32(nobody)))),
		"Go":            load(netnsenv.NFTables(ownedBy("g", nobody, false))),
		"Go, set":       load(netnsenv.NFTables(ownedBy("h", nobody, true))),
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

// Rules in Go that name users that the namespace has are loaded.
func TestUsersThatAreMappedAreMatchedByRulesInGo(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	for _, inSet := range []bool{false, true} {
		if err := netnsenv.NFTables(ownedBy(fmt.Sprint("t", inSet), 0, inSet)).Load(t.Context(), e); err != nil {
			t.Errorf("in a set %v: %v", inSet, err)
		}
	}
}

// ownedBy makes a table with a rule that drops what a user sends, compared with the user or with a named set.
func ownedBy(table string, uid uint32, inSet bool) func(*nftables.Conn) error {
	return func(c *nftables.Conn) error {
		t := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: table})
		chain := c.AddChain(&nftables.Chain{Table: t, Name: "c"})
		user := binary.NativeEndian.AppendUint32(nil, uid)
		var compare expr.Any = &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: user}
		if inSet {
			set := &nftables.Set{Table: t, Name: "users", KeyType: nftables.TypeUID}
			if err := c.AddSet(set, []nftables.SetElement{{Key: user}}); err != nil {
				return err
			}
			compare = &expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID}
		}
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeySKUID, Register: 1}, compare, &expr.Verdict{Kind: expr.VerdictDrop},
		}})
		return nil
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
