package netnsenv_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/needs"
	"github.com/ctexp/go-ctexp/internal/patience"
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

// table returns the entries of a new Env with a listing as lines.
func table(t *testing.T, text string) (lines []string) {
	t.Helper()
	e, err := netnsenv.Open(t.Context(), netnsenv.Config{Rules: []netnsenv.Ruleset{netnsenv.Listing(text)}})
	needs.Check(t, err)
	t.Cleanup(func() { needs.Check(t, e.Close()) })
	for _, en := range entriesOf(t, e) {
		lines = append(lines, fmt.Sprintf("%v in %d s", en, int((en.Timeout+time.Second/2)/time.Second)/10*10))
	}
	slices.Sort(lines)
	return lines
}

// Of the events of a flow the last one counts, and what has ended is not in the table.
func TestListingOfEventsIsTheTableAfterThem(t *testing.T) {
	t.Parallel()
	const a = "src=10.0.0.2 dst=192.0.2.1 sport=1 dport=2 %ssrc=192.0.2.1 dst=10.0.0.2 sport=2 dport=1"
	const b = "src=10.0.0.3 dst=192.0.2.1 sport=1 dport=2 %ssrc=192.0.2.1 dst=10.0.0.3 sport=2 dport=1"
	unreplied := func(tuples string) string { return fmt.Sprintf(tuples, "[UNREPLIED] ") }
	replied := func(tuples string) string { return fmt.Sprintf(tuples, "") }
	got := table(t, "    [NEW] udp      17 35 "+unreplied(a)+"\n    [NEW] udp      17 35 "+unreplied(b)+"\n [UPDATE] udp      17 36 "+replied(a)+
		"\n [UPDATE] udp      17 125 "+replied(a)+" [ASSURED]\n[DESTROY] udp      17 "+unreplied(b)+"\n")
	want := []string{"udp " + replied(a) + " [ASSURED] in 120 s"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// What lines lack is as the kernel would make it: lines of Entry.String and of tests have no timeout, and some in XML no reply.
func TestListingIsCompleted(t *testing.T) {
	t.Parallel()
	const text = `<flow><meta direction="original"><layer3><src>10.0.0.9</src><dst>192.0.2.1</dst></layer3><layer4 protonum="17"><sport>1</sport><dport>2</dport></layer4></meta></flow>
tcp SYN_SENT src=10.0.0.2 dst=192.0.2.1 sport=1 dport=2 [UNREPLIED] src=192.0.2.1 dst=10.0.0.2 sport=2 dport=1
tcp ESTABLISHED src=10.0.0.3 dst=192.0.2.1 sport=1 dport=2 src=192.0.2.1 dst=10.0.0.3 sport=2 dport=1 [ASSURED]
udp src=10.0.0.4 dst=192.0.2.1 sport=1 dport=2 src=192.0.2.1 dst=10.0.0.4 sport=2 dport=1
icmp src=10.0.0.5 dst=192.0.2.1 type=8 code=0 id=7 src=192.0.2.1 dst=10.0.0.5 type=0 code=0 id=7
unknown 99 src=10.0.0.6 dst=192.0.2.1 src=192.0.2.1 dst=10.0.0.6
`
	var told []string
	ctx := patience.Telling(t.Context(), func(s string) { told = append(told, s) })
	e, err := netnsenv.Open(ctx, netnsenv.Config{
		Rules: []netnsenv.Ruleset{netnsenv.Listing(text)},
		Sysctls: map[string]string{
			netnsenv.TimeoutSysctl(nf.TCP, "syn_sent"): "111", netnsenv.TimeoutSysctl(nf.TCP, "established"): "211",
			netnsenv.TimeoutSysctl(nf.UDP, "unreplied"): "311", netnsenv.TimeoutSysctl(nf.UDP, "replied"): "411",
			netnsenv.TimeoutSysctl(nf.ICMP, "timeout"): "511", netnsenv.TimeoutSysctl(0, "timeout"): "611",
		},
	})
	needs.Check(t, err)
	t.Cleanup(func() { needs.Check(t, e.Close()) })

	got := map[string]int{}
	for _, en := range entriesOf(t, e) {
		got[en.Orig.Src.Addr().String()+" > "+en.Reply.Src.Addr().String()] = int(en.Timeout/time.Second) / 10
	}
	want := map[string]int{"10.0.0.2 > 192.0.2.1": 11, "10.0.0.3 > 192.0.2.1": 21, "10.0.0.9 > 192.0.2.1": 31, "10.0.0.4 > 192.0.2.1": 41, "10.0.0.5 > 192.0.2.1": 51, "10.0.0.6 > 192.0.2.1": 61}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tens of seconds (-want +got):\n%s", diff)
	}
	said := []string{"assumed, as the listing lacks it: reply tuples as the inverse of the original ones (1), timeouts as those of the states (6)"}
	if diff := cmp.Diff(said, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}

	_, err = netnsenv.Open(t.Context(), netnsenv.Config{Rules: []netnsenv.Ruleset{netnsenv.Listing("tcp NONE src=10.0.0.2 dst=192.0.2.1 sport=1 dport=2 src=192.0.2.1 dst=10.0.0.2 sport=2 dport=1")}})
	if err == nil || !strings.Contains(err.Error(), "has neither a timeout nor a state of which one follows") {
		t.Errorf("a state without timeout: %v", err)
	}
}

// Expectations are loaded with the entries that they belong to, which are made if the text does not have them.
func TestListingHasExpectations(t *testing.T) {
	t.Parallel()
	const expected = "300 proto=6 src=192.0.2.1 dst=10.0.0.2 sport=0 dport=20001 mask-src=255.255.255.255 mask-dst=255.255.255.255 sport=0 dport=65535 " +
		"master-src=10.0.0.2 master-dst=192.0.2.1 sport=40000 dport=21 class=0 helper=ftp\n"
	const control = "tcp 6 431999 ESTABLISHED src=10.0.0.2 dst=192.0.2.1 sport=40000 dport=21 src=192.0.2.1 dst=203.0.113.1 sport=21 dport=40000 [ASSURED] mark=7 use=1\n"
	e := open(t, netnsenv.Config{Rules: []netnsenv.Ruleset{netnsenv.Helper{Name: "ftp", Proto: nf.TCP}}}) // skips where the kernel has no such helper
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		expected:           "tcp ESTABLISHED src=10.0.0.2 dst=192.0.2.1 sport=40000 dport=21 src=192.0.2.1 dst=10.0.0.2 sport=21 dport=40000 [ASSURED] helper=ftp",
		expected + control: "tcp ESTABLISHED src=10.0.0.2 dst=192.0.2.1 sport=40000 dport=21 src=192.0.2.1 dst=203.0.113.1 sport=21 dport=40000 [ASSURED] mark=7 helper=ftp",
	} {
		e := open(t, netnsenv.Config{Rules: []netnsenv.Ruleset{netnsenv.Listing(text)}})
		var got []string
		for _, en := range entriesOf(t, e) {
			got = append(got, en.String())
		}
		for _, x := range expectationsOf(t, e) {
			x.Function = ""
			got = append(got, x.String())
		}
		want := []string{want, "tcp src=192.0.2.1 dst=10.0.0.2 sport=0 dport=20001 master src=10.0.0.2 dst=192.0.2.1 sport=40000 dport=21 helper=ftp"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
	_, err := netnsenv.Open(t.Context(), netnsenv.Config{Rules: []netnsenv.Ruleset{netnsenv.Listing(strings.ReplaceAll(expected, "ftp", "none"))}})
	if err == nil || errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "a helper of that name: want one of") {
		t.Errorf("a wrong helper: %v", err)
	}
}
