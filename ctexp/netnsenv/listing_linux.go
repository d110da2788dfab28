package netnsenv

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// begin puts entries into the table, and then expectations, whose masters must be among them.
func (t *Table) begin(ctx context.Context, entries []nf.Entry, expectations []nf.Expectation) error {
	if n, err := t.CreateAll(ctx, slices.Values(entries)); err != nil {
		return fmt.Errorf("%d of %d entries created: %w", n, len(entries), helperLack(entries, err))
	}
	for _, x := range expectations {
		if err := t.expect(x); err != nil {
			return fmt.Errorf("create expectation %v: %w", x, helperLack(entries, err))
		}
	}
	return nil
}

// helperLack returns an nf.UnsupportedError if err is how the kernel refuses what needs the helper of one of the entries
// (net/netfilter/nf_conntrack_netlink.c, ctnetlink_create_conntrack and ctnetlink_create_expect).
func helperLack(entries []nf.Entry, err error) error {
	i := slices.IndexFunc(entries, func(e nf.Entry) bool { return e.Helper != "" })
	if i < 0 || !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	of := entries[i]
	return Helper{Name: of.Helper, Proto: of.Orig.Proto, Family: of.Orig.Family()}.unknown(err)
}

// expect creates an expectation.
func (t *Table) expect(x nf.Expectation) error {
	t.env.watch.acted.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.nfnl.Do(nfnl.AppendExpect(nil, x))
}
