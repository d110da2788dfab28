package ctexp_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/golden"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/needs"
	"github.com/ctexp/go-ctexp/internal/redtest"
)

// The log of a failed test begins with the difference, followed by the report.
func TestFailureExplainsItself(t *testing.T) {
	t.Parallel()
	fake := &redtest.TB{TestName: "TestX"}
	log := fake.Run(func(f *redtest.TB) {
		x := ctexp.New(f, netnsenv.Config{
			Links: veth, Silent: true,
			Rules:  []netnsenv.Ruleset{dropHTTP},
			Probes: []nf.Probe{nf.RawPrerouting, nf.ConfirmedInput},
		})
		x.Inject(packet.Concat(packet.SYNs(3, web), packet.UDPs(1, web)))
		want := observe.Tally{Packets: map[string]uint64{"raw/prerouting": 4, "confirmed/input": 4}, Entries: 4}
		if diff := x.Tally().Diff(want); diff != "" {
			f.Errorf("3 SYNs and a datagram to port 80 (-want +got):\n%s", diff)
		}
	})
	needs.Check(t, fake.Lack())
	log = regexp.MustCompile(`(?m)^--- artifacts: .*/`).ReplaceAllString(log, "--- artifacts: …/")
	golden.Check(t, "failure.txt", plainBlanks(withoutTimes(log)))
}

// However much has happened, the report of it fits on a screen: of all lists that are longer than that.
func TestReportIsCutToAScreen(t *testing.T) {
	t.Parallel()
	var rules strings.Builder
	for i := range 60 {
		fmt.Fprintf(&rules, "tcp dport %d counter drop; ", 1000+i)
	}
	x := ctexp.New(t, netnsenv.Config{
		Links: veth, Silent: true,
		Rules: []netnsenv.Ruleset{netnsenv.NFT("table ip user { chain in { type filter hook input priority 0; tcp flags syn counter; " + rules.String() + "}; }")},
	})
	var packets []packet.Packet
	for i := range 12 {
		f := web
		f.Dst = netip.AddrPortFrom(f.Dst.Addr(), uint16(1000+2*i))
		packets = append(packets, packet.SYN(f), f.TCP(packet.TCP{}))
	}
	x.Inject(packet.Concat(packet.SYNs(20, web), packet.Packets(packets...)))

	report := x.Report(t.Context())
	if n := strings.Count(report, "\n") + 1; n > 42 {
		t.Errorf("%d lines", n)
	}
	report = withoutTimes(report)
	if !kernel.ReasonLink.Here() {
		before, reasons, _ := strings.Cut(report, "--- what conntrack says")
		report = before + "--- what conntrack says" + strings.Replace(reasons, " IP ", " tun0 IP ", 1)
	}
	golden.Check(t, "large.txt", report+"\n")
}

// The report of a closed Lab has errors in place of counts, and neither WriteReport nor WritePage writes anything.
func TestClosedLabHasNoReport(t *testing.T) {
	t.Parallel()
	lab, err := ctexp.Open(t.Context(), netnsenv.Config{Links: veth, Silent: true})
	ctexp.Require(t, "open", err)
	if err := lab.Close(); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "closed.txt", withoutLimit(lab.Report(t.Context()))+"\n")
	dir := filepath.Join(t.TempDir(), "none")
	files, err := lab.WriteReport(t.Context(), dir, "X")
	if _, there := os.Stat(dir); len(files) != 0 || !errors.Is(err, os.ErrClosed) || !errors.Is(there, os.ErrNotExist) {
		t.Errorf("files %v, error %v, the folder: %v", files, err, there)
	}
	var page strings.Builder
	if err := lab.WritePage(t.Context(), &page, "X"); !errors.Is(err, os.ErrClosed) || page.Len() > 0 {
		t.Errorf("a page of %d bytes, error %v", page.Len(), err)
	}
}

// An operation that gives up at the test's deadline leaves time to say what happened.
func TestLateFailureExplainsItself(t *testing.T) {
	t.Parallel()
	fake := &redtest.TB{TestName: "TestX"}
	// How long explaining takes on a busy machine is not this test's question: once it has failed it has time.
	d := &deadlineTB{TB: fake, at: time.Now().Add(time.Hour), more: time.Hour}
	log := fake.Run(func(*redtest.TB) {
		x := ctexp.New(d, netnsenv.Config{Links: veth, Silent: true})
		x.Inject(packet.SYNs(1, web))
		d.at = time.Now().Add(time.Second)
		x.Await("the moon", func() bool { return false })
	})
	needs.Check(t, fake.Lack())
	if !strings.Contains(log, "\nentries 1\n") {
		t.Errorf("the log is\n%s", log)
	}
}

// withoutLimit leaves out the machine's limit.
func withoutLimit(s string) string {
	return regexp.MustCompile(`limit [\d,]+\)`).ReplaceAllString(s, "limit N)")
}

// withoutTimes puts a word in the place of each time at which a packet came.
func withoutTimes(s string) string {
	return withoutLimit(regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d\.\d{6}`).ReplaceAllString(s, "hh:mm:ss.uuuuuu"))
}

// plainBlanks makes the output of cmp comparable: it throws dice between blanks and no-break spaces so that nobody relies
// on it.
func plainBlanks(s string) string {
	return regexp.MustCompile(`\x{00a0}`).ReplaceAllString(s, " ")
}
