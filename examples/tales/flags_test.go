package main

import (
	"strings"
	"testing"
)

func TestWrongFlagsAreStatus2(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, want string }{
		{"-packets 7", "more packets than fit"},
		{"-packets 7 -free 8", "more packets than fit"},
		{"-packets 50001", "at most 50000"},
		{"-free 0", "at least 1"},
		{"-free -1", "at least 1"},
		{"-packets many", "invalid value"},
		{"-backend pf", "want nft, iptables-nft or iptables-legacy"},
		{"-run (", "missing closing )"},
		{"-run ^no-such-claim$", "no claim matches"},
		{"-colour", "not defined"},
		{"table-full", "want flags only"},
	} {
		var out, errOut strings.Builder
		if status := run(strings.Fields(c.args), &out, &errOut); status != statusFailed {
			t.Errorf("%s: exit status %d, want %d", c.args, status, statusFailed)
		}
		if out.String() != "" || !strings.Contains(errOut.String(), c.want) {
			t.Errorf("%s: output %q, error %q, want one with %q", c.args, out.String(), errOut.String(), c.want)
		}
	}
}

func TestHelpIsNoFailure(t *testing.T) {
	t.Parallel()
	var out, errOut strings.Builder
	if status := run([]string{"-help"}, &out, &errOut); status != statusFine || !strings.Contains(errOut.String(), "-backend") {
		t.Errorf("exit status %d, %s", status, errOut.String())
	}
}

func TestTheSmallestAndTheLargestSizeAreTaken(t *testing.T) {
	t.Parallel()
	for _, n := range []size{{2, 1}, {50_000, 49_999}} {
		if err := n.check(); err != nil {
			t.Errorf("%+v: %v", n, err)
		}
	}
}
