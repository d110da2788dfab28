package observe

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// Expectations returns the flows that helpers and rules ("ct expectation set") expect, in the order of their masters.
func (o *Observer) Expectations(ctx context.Context) iter.Seq2[nf.Expectation, error] {
	return listOf(o, ctx, "expectations", func() ([]nf.Expectation, *nfnl.UnknownError, error) {
		var list []nf.Expectation
		var unknown *nfnl.UnknownError
		err := o.list(ctx, nfnl.DumpExpect, func(body []byte, at int) error {
			x, u, err := nfnl.DecodeWholeExpectation(body, at)
			list = append(list, x)
			unknown = cmp.Or(unknown, u)
			return err
		})
		slices.SortFunc(list, byExpected)
		return list, unknown, err
	})
}

// Dying returns the entries that are no longer in the table, but whose DESTROY event could not be delivered yet to a
// listener that wants to be sure (NETLINK_BROADCAST_ERROR), as conntrackd is; before Linux 5.19 also those that are
// about to be freed. Their order is that of their tuples.
func (o *Observer) Dying(ctx context.Context) iter.Seq2[nf.Entry, error] {
	return o.entriesOf(ctx, "dying", nfnl.DumpDying, func(int) error { return nil })
}

// Unconfirmed returns the entries of packets that are on their way, in a queue say, and were not confirmed yet. Linux
// has no list of them since 5.19 (8a75a2c17410 "netfilter: conntrack: remove unconfirmed list"), where the error is an
// nf.UnsupportedError.
func (o *Observer) Unconfirmed(ctx context.Context) iter.Seq2[nf.Entry, error] {
	return o.entriesOf(ctx, "unconfirmed", nfnl.DumpUnconfirmed, func(n int) error {
		if n > 0 {
			return nil
		}
		return hasUnconfirmed()
	})
}

// entriesOf returns a list of entries, in order. check is told how many there are.
func (o *Observer) entriesOf(ctx context.Context, what string, d nfnl.Dump, check func(n int) error) iter.Seq2[nf.Entry, error] {
	return listOf(o, ctx, what, func() ([]nf.Entry, *nfnl.UnknownError, error) {
		var l found
		n := 0
		err := o.list(ctx, d, func(body []byte, at int) error {
			n++
			e, unknown, err := nfnl.DecodeWhole(body, at)
			if e.Zone != ours.FillerZone {
				l.add(e, unknown)
			}
			return err
		})
		if err == nil {
			err = check(n)
		}
		slices.SortFunc(l.entries, byTuple)
		return l.entries, l.unknown, err
	})
}

// list reads one list of the kernel's.
func (o *Observer) list(ctx context.Context, d nfnl.Dump, each func(body []byte, at int) error) error {
	release, err := o.use(ctx)
	if err != nil {
		return err
	}
	defer release()
	return o.table.Dump(d, each)
}

// hasUnconfirmed tells an empty list from none, which looks the same, by the kernel's release.
func hasUnconfirmed() error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	if release := unix.ByteSliceToString(u.Release[:]); !before(release, 5, 19) {
		return &nf.UnsupportedError{
			Need: "the list of unconfirmed entries", Hint: "Linux had it until 5.18; this is " + release,
		}
	}
	return nil
}
