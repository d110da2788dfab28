package ctexp_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/pcap"
	"github.com/ctexp/go-ctexp/internal/report"
)

// Of much traffic a report has the beginning, and says so. What it says of the frames that it has is as certain as if it had
// all; the counts are those of all, and so is the capture.
func TestReportOfMuchTrafficIsCut(t *testing.T) {
	t.Parallel()
	const sent = 6000
	for _, c := range []struct {
		name    string
		rules   []netnsenv.Ruleset
		verdict string
		want    []string
	}{
		{"all pass", nil, "", []string{
			"--- flows (6000)", "… 5994 more\n(flows: the first 5000 of 6000; a report is about no more, whatever the traffic)",
			"--- frames (6000)", "(frames: the first 5000 of 6000; a report is about no more, whatever the traffic; capture.pcapng has all)",
		}},
		{"all are dropped", []netnsenv.Ruleset{netnsenv.NFT("table ip raw { chain pre { type filter hook prerouting priority -250; tcp dport 80 counter drop; }; }")}, report.Dropped, []string{
			"--- flows (0)", "--- frames (6000)", "×5000 (dropped by nft ip raw pre: tcp dport 80",
		}},
	} {
		x := ctexp.New(t, netnsenv.Config{Silent: true, Rules: c.rules})
		x.Flood(inject.Flood{Template: packet.SYN(web), N: sent, Vary: []inject.Vary{{Field: inject.VarySrcPort, Count: sent}}})
		text := x.Report(t.Context())
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: the report lacks %q:\n%s", c.name, want, text)
			}
		}
		if n := strings.Count(text, "\n") + 1; n > 42 {
			t.Errorf("%s: %d lines", c.name, n)
		}

		dir := t.TempDir()
		if _, err := x.WriteReport(t.Context(), dir, "much"); err != nil {
			t.Fatal(err)
		}
		if n := framesIn(t, filepath.Join(dir, "much.capture.pcapng")); n != sent {
			t.Errorf("%s: the capture has %d frames, want %d", c.name, n, sent)
		}
		d := resultIn(t, filepath.Join(dir, "much.result.json"))
		if len(d.Frames) != 5000 || d.Omitted.Frames != sent-5000 || d.Frames[0].Verdict != c.verdict || d.Frames[0].State == "no entry" && c.rules == nil {
			t.Errorf("%s: result.json has %d frames, the first %q %q, and omits %+v", c.name, len(d.Frames), d.Frames[0].Verdict, d.Frames[0].State, d.Omitted)
		}
	}
}

// A failing test has the frames of a million packets in its capture, and a log of a screenful. Under the race detector, which takes
// a minute for a million, it is a tenth of that.
func TestReportOfAMillionPacketsHasAllFrames(t *testing.T) {
	t.Parallel()
	sent := 1_000_000
	if isRaced() {
		sent /= 10
	}
	x := ctexp.New(t, netnsenv.Config{Silent: true, NoPath: true, NoEvents: true, Rules: []netnsenv.Ruleset{dropAll}})
	x.Flood(inject.Flood{Template: packet.SYN(web), N: sent})
	text := x.Report(t.Context())
	if !strings.Contains(text, fmt.Sprintf("--- frames (%d)", sent)) || !strings.Contains(text, "capture.pcapng has all") || strings.Contains(text, "lost") {
		t.Errorf("the report says something else of its frames:\n%s", text)
	}
	if n := strings.Count(text, "\n") + 1; n > 40 {
		t.Errorf("%d lines:\n%s", n, text)
	}
	dir := t.TempDir()
	if _, err := x.WriteReport(t.Context(), dir, "much"); err != nil {
		t.Fatal(err)
	}
	if n := framesIn(t, filepath.Join(dir, "much.capture.pcapng")); n != sent {
		t.Errorf("the capture has %d frames, want %d", n, sent)
	}
}

// Frames beyond those that are kept are counted, and nothing says that the capture has them.
func TestReportOfTooMuchTrafficSaysWhatIsKept(t *testing.T) {
	t.Parallel()
	const sent, kept = 6100, 6000
	x := ctexp.New(t, netnsenv.Config{Silent: true, NoPath: true, NoEvents: true, Rules: []netnsenv.Ruleset{dropAll}})
	lab, err := ctexp.Watch(t.Context(), x.Env, observe.Config{MaxFrames: kept})
	ctexp.Require(t, "watch", err)
	t.Cleanup(func() { _ = lab.Close() })
	if _, err := lab.Flood(t.Context(), inject.Flood{Template: packet.SYN(web), N: sent}); err != nil {
		t.Fatal(err)
	}
	text := lab.Report(t.Context())
	for _, want := range []string{"--- frames (6000)", "frames were lost: 100 exceeded the limit", "capture.pcapng has those that were kept"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	dir := t.TempDir()
	if _, err := lab.WriteReport(t.Context(), dir, "much"); err != nil {
		t.Fatal(err)
	}
	if n := framesIn(t, filepath.Join(dir, "much.capture.pcapng")); n != kept {
		t.Errorf("the capture has %d frames, want %d", n, kept)
	}
}

// isRaced reports whether the test was built with the race detector.
func isRaced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

var dropAll = netnsenv.NFT("table ip raw { chain pre { type filter hook prerouting priority -300; drop; }; }")

func framesIn(t *testing.T, file string) (n int) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcap.NewReader(f)
	for ; err == nil; n++ {
		_, err = r.Next()
	}
	if err != io.EOF {
		t.Error(err)
	}
	return n - 1
}

func resultIn(t *testing.T, file string) report.Data {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, err := report.ReadJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
