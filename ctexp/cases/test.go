package cases

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

// Test runs a file of cases in a test: each failure is an error of t with the line and with the way of the packet. Rules and links
// are those that the file names. A file with a packet without an expectation fails, as with ctexp try -cases. The test skips if this machine
// cannot do what is needed.
func Test(t ctexp.TB, file string) {
	t.Helper()
	ctx := context.Background()
	if c, ok := t.(interface{ Context() context.Context }); ok {
		ctx = c.Context()
	}
	s, err := ReadFile(file)
	if err != nil {
		t.Fatalf("%v", err)
		return
	}
	for _, b := range s.Blocks {
		if i := slices.IndexFunc(b.Cases, func(c Case) bool { return c.Want.Kind == WantNothing }); i >= 0 {
			t.Fatalf("%s:%d: nothing is expected: write what should become of the packet behind =>", file, b.Cases[i].Line)
			return
		}
	}
	cfg, err := s.Config()
	if err != nil {
		t.Fatalf("%v", err)
		return
	}
	r, err := s.Run(ctx, cfg)
	ctexp.Require(t, "cases", err)
	for _, g := range r.Failures() {
		t.Errorf("%s", textOf(r.failure(g)))
	}
}

// Config reads the files with rules that the suite names and returns a Config with its links, or with those that fit the rules
// (GuessLinks).
func (s Suite) Config() (netnsenv.Config, error) {
	var rules []netnsenv.Ruleset
	for _, name := range s.Rules {
		text, err := os.ReadFile(name)
		if err != nil {
			return netnsenv.Config{}, fmt.Errorf("%s: rules: %w", s.Name, err)
		}
		r, err := Rules(name, string(text))
		if err != nil {
			return netnsenv.Config{}, err
		}
		rules = append(rules, r)
	}
	links := s.Links
	if links == nil {
		links = s.GuessLinks(rules)
	}
	return Config(links, rules...), nil
}
