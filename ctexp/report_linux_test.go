package ctexp_test

import (
	"regexp"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// What a failed test logs by itself: the difference first, then everything that one would look at next.
func TestFailureExplainsItself(t *testing.T) {
	t.Parallel()
	fake := &fakeTB{name: "TestX"}
	log := fake.run(func(f *fakeTB) {
		x := ctexp.New(f, netnsenv.Config{
			Links: veth, Silent: true,
			Rules:  []netnsenv.Ruleset{dropHTTP},
			Probes: []nf.Probe{nf.RawPrerouting, nf.ConfirmedInput},
		})
		x.Inject(inject.Concat(inject.SYNs(3, web), inject.UDPs(1, web)))
		want := observe.Tally{Packets: map[string]uint64{"raw/prerouting": 4, "confirmed/input": 4}, Entries: 4}
		if diff := x.Tally().Diff(want); diff != "" {
			f.Errorf("3 SYNs and a datagram to port 80 (-want +got):\n%s", diff)
		}
	})
	if fake.skipped {
		t.Skip(log)
	}
	log = regexp.MustCompile(`(?m)^--- artifacts: .*/`).ReplaceAllString(log, "--- artifacts: …/")
	log = regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d\.\d{6}`).ReplaceAllString(log, "hh:mm:ss.uuuuuu")
	golden(t, "failure.txt", plainBlanks(log))
}

func TestReportIsCutToAScreen(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Links: veth, Silent: true})
	x.Inject(inject.SYNs(100, web))
	report := x.Report(t.Context())
	if lines := len(regexp.MustCompile(`\n`).FindAllString(report, -1)); lines > 60 {
		t.Errorf("%d lines:\n%s", lines, report)
	}
	if !regexp.MustCompile(`flows \(100\)\n(?s:.*)… and 80 more`).MatchString(report) {
		t.Errorf("it does not say how much is left out:\n%s", report)
	}
}

// plainBlanks makes the output of cmp comparable: it throws dice between blanks and no-break spaces so that nobody relies
// on it.
func plainBlanks(s string) string {
	return regexp.MustCompile(`\x{00a0}`).ReplaceAllString(s, " ")
}
