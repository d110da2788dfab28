package netnsenv_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// An Env may start from the table of another machine, translations and states included. If a line cannot be read, or the kernel
// rejects an entry, the Env is not opened.
func TestListingIsTheFirstTable(t *testing.T) {
	t.Parallel()
	const text = `root@gw:~# conntrack -L
tcp      6 431999 ESTABLISHED src=10.0.0.2 dst=192.0.2.1 sport=40000 dport=443 src=192.0.2.1 dst=203.0.113.1 sport=443 dport=40000 [ASSURED] mark=7 use=1
    [NEW] udp      17 30 src=10.0.0.2 dst=192.0.2.1 sport=1 dport=2 [UNREPLIED] src=192.0.2.1 dst=10.0.0.2 sport=2 dport=1
conntrack v1.4.7 (conntrack-tools): 2 flow entries have been shown.
`
	e, err := netnsenv.Open(t.Context(), netnsenv.Config{Rules: []netnsenv.Ruleset{netnsenv.Listing(text)}})
	needs.Check(t, err)
	t.Cleanup(func() { needs.Check(t, e.Close()) })

	var got []string
	for _, en := range entriesOf(t, e) {
		got = append(got, en.String())
	}
	slices.Sort(got)
	want := []string{
		"tcp ESTABLISHED src=10.0.0.2 dst=192.0.2.1 sport=40000 dport=443 src=192.0.2.1 dst=203.0.113.1 sport=443 dport=40000 [ASSURED] mark=7",
		"udp src=10.0.0.2 dst=192.0.2.1 sport=1 dport=2 [UNREPLIED] src=192.0.2.1 dst=10.0.0.2 sport=2 dport=1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	_, err = netnsenv.Open(t.Context(), netnsenv.Config{Rules: []netnsenv.Ruleset{netnsenv.Listing(text + "tcp 6 what")}})
	var wrong *nf.ParseError
	if !errors.As(err, &wrong) || wrong.Line != 5 {
		t.Errorf("a wrong line: got %v", err)
	}
}
