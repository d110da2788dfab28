package cases_test

import (
	"context"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/internal/needs"
)

func TestMain(m *testing.M) { ctexp.Main(tests{m}) }

// tests are those of the package; examples are left out where they cannot run.
type tests struct{ m *testing.M }

func (t tests) Run() int {
	needs.SkipExamples(func() error {
		env, err := netnsenv.Open(context.Background(), netnsenv.Config{Rules: []netnsenv.Ruleset{netnsenv.NFT("table inet t { }")}})
		if err != nil {
			return err
		}
		return env.Close()
	})
	return t.m.Run()
}
