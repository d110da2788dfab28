package netnsenv

import (
	"errors"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/internal/needs"
)

// A transaction is accepted as a whole or not at all. Of one that is refused the kernel's error is returned, and the connection
// goes on with the next.
func TestTransactionsOfOwnTables(t *testing.T) {
	t.Parallel()
	e, err := Open(t.Context(), Config{})
	needs.Check(t, err)
	defer e.Close()
	reader, err := e.openNFTables()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.CloseLasting()
	o := e.owned
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range 2 {
		name := []string{"first", "second"}[i]
		c := o.rules.AddChain(&nftables.Chain{Table: o.inet, Name: name})
		for range 100 { // more than one answer would have room
			o.rules.AddRule(&nftables.Rule{Table: o.inet, Chain: &nftables.Chain{Name: "no-such-chain"}, Exprs: []expr.Any{&expr.Counter{}}})
		}
		if err := o.flush(); !errors.Is(err, unix.ENOENT) {
			t.Errorf("a chain that is not there: %v", err)
		}
		if got, err := reader.ListChain(o.inet, name); err == nil {
			t.Errorf("the refused transaction has left the chain %v", got)
		}
		o.rules.AddChain(c)
		for range 100 {
			o.rules.AddRule(&nftables.Rule{Table: o.inet, Chain: c, Exprs: []expr.Any{&expr.Counter{}}})
		}
		if err := o.flush(); err != nil {
			t.Errorf("a chain and its rules: %v", err)
		}
		if rules, err := reader.GetRules(o.inet, c); err != nil || len(rules) != 100 {
			t.Errorf("%d rules, %v; want 100", len(rules), err)
		}
		if err := o.flush(); err != nil {
			t.Errorf("nothing: %v", err)
		}
	}
}
