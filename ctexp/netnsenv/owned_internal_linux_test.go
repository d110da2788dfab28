package netnsenv

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// listed returns our own rules as nft lists them, without handles and counts.
func listed(t *testing.T, e *Env) string {
	t.Helper()
	var out bytes.Buffer
	err := e.do(func() error {
		cmd := exec.CommandContext(t.Context(), "nft", "-s", "list", "ruleset")
		cmd.Stdout = &out
		return cmd.Run()
	})
	if err != nil {
		needs.Check(t, &nf.UnsupportedError{Need: "nft", Hint: "sudo apt-get install nftables", Err: err})
	}
	return out.String()
}

// An Env whose rules were encoded by an earlier one has the same rules, and so has one for which the kernel refuses what was
// kept. Other Configs have their own.
func TestOwnRulesAreKeptEncoded(t *testing.T) {
	t.Parallel()
	cfg := Config{
		Links:  []LinkConfig{{Name: "keptA"}, {Name: "keptB", Kind: Veth}}, // no other test has them
		Probes: []nf.Probe{{Name: "kept", Hook: nf.Input, Priority: 7}},
	}
	kept := func(probe string) []builtRules {
		built.Lock()
		defer built.Unlock()
		var all []builtRules
		for _, b := range built.all {
			if len(b.probes) == 1 && b.probes[0].Name == probe {
				all = append(all, b)
			}
		}
		return all
	}
	openList := func(cfg Config) string {
		e, err := Open(t.Context(), cfg)
		needs.Check(t, err)
		defer e.Close()
		return listed(t, e)
	}

	first := openList(cfg)
	if n := len(kept("kept")); n != 1 {
		t.Fatalf("%d transactions are kept, want 1", n)
	}
	again := openList(cfg)
	wrong := kept("kept")[0]
	keepBuilt(wrong.ownRules, wrong.probes, transaction([]netlink.Message{nftMessage(unix.NFNL_SUBSYS_NFTABLES<<8|0xff, 0, unix.AF_UNSPEC, 0)}))
	refused := openList(cfg)
	if n := len(kept("kept")); n != 1 {
		t.Errorf("%d transactions are kept, want 1", n)
	}
	cfg.Probes[0].Priority, cfg.Probes[0].Name = 8, "other"
	other := openList(cfg)

	if again != first {
		t.Errorf("with a kept transaction:\n%s\nwant\n%s", again, first)
	}
	if refused != first {
		t.Errorf("with a refused transaction:\n%s\nwant\n%s", refused, first)
	}
	if other == first || len(kept("other")) != 1 {
		t.Errorf("another probe has the rules\n%s", other)
	}
}

// If the kernel refuses the whole, each part is added alone: the error is that of the part which is refused, and a part that may be
// missing is left out.
func TestRefusedPartIsNamed(t *testing.T) {
	t.Parallel()
	e, err := Open(t.Context(), Config{})
	needs.Check(t, err)
	defer e.Close()
	o := e.owned
	o.mu.Lock()
	defer o.mu.Unlock()
	var asked []string
	add := func(name, in string, without bool) part {
		return part{
			collect: func() {
				o.rules.AddChain(&nftables.Chain{Table: o.inet, Name: name})
				o.rules.AddRule(&nftables.Rule{Table: o.inet, Chain: &nftables.Chain{Name: in}, Exprs: []expr.Any{&expr.Counter{}}})
			},
			refused: func(err error) error {
				asked = append(asked, name)
				if without {
					return nil
				}
				return fmt.Errorf("%s: %w", name, err)
			},
		}
	}
	parts := []part{add("one", "one", false), add("two", "none", true), add("three", "three", false), add("four", "none", false), add("five", "five", false)}
	messages := make([][]netlink.Message, len(parts))
	for i, p := range parts {
		if messages[i], err = o.collect(p.collect); err != nil {
			t.Fatal(err)
		}
	}
	reader, err := e.openNFTables()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.CloseLasting()

	err = o.addEach(parts, messages)

	if !errors.Is(err, unix.ENOENT) || err.Error() != "four: no such file or directory" || fmt.Sprint(asked) != "[two four]" {
		t.Errorf("%v, asked %v; want an error of four, asked of two and four", err, asked)
	}
	for name, want := range map[string]bool{"one": true, "two": false, "three": true, "four": false, "five": false} {
		if _, err := reader.ListChain(o.inet, name); (err == nil) != want {
			t.Errorf("chain %s: %v, want it: %v", name, err, want)
		}
	}
	if _, err := o.counter(o.inet, "no-such-counter"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a counter that is not there: %v", err)
	}
}

// BenchmarkOwnRules is what a process needs to have the rules of a standard path: encoded for each Env, or kept.
func BenchmarkOwnRules(b *testing.B) {
	e, err := Open(b.Context(), Config{})
	needs.Check(b, err)
	defer e.Close()
	o := e.owned
	o.mu.Lock()
	defer o.mu.Unlock()
	r := ownRules{links: "BenchmarkOwnRules", path: true, classes: true, copies: true, late: true}
	b.Run("encoded", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var all []netlink.Message
			for _, p := range e.parts(r) {
				messages, err := o.collect(p.collect)
				if err != nil {
					b.Fatal(err)
				}
				all = append(all, messages...)
			}
			transaction(all)
		}
	})
	b.Run("kept", func(b *testing.B) {
		b.ReportAllocs()
		keepBuilt(r, nil, transaction([]netlink.Message{nftMessage(0, 0, 0, 0, make([]byte, 16<<10)...)}))
		for b.Loop() {
			if findBuilt(r, nil) == nil {
				b.Fatal("it is not kept")
			}
		}
	})
}
