package dropreason_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/observe/dropreason"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// Packets that a silent host drops of its own are not reported.
func TestSilencedPacketsAreLeftOut(t *testing.T) {
	t.Parallel()
	lab, err := ctexp.Open(t.Context(), netnsenv.Config{Silent: true})
	needs.Check(t, err)
	defer lab.Close()
	w, err := dropreason.Open(lab.Env)
	needs.Check(t, err)
	defer w.Close()
	lab.Observer.SetDropSource(w)
	if _, err := lab.Inject(t.Context(), packet.Packets(packet.SYN(web), web.UDP(nil))); err != nil {
		t.Fatal(err)
	}
	record, err := lab.Observer.Record(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range record.Drops {
		got = append(got, d.Reason)
	}
	if diff := cmp.Diff([]string{"NO_SOCKET", "NO_SOCKET"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s\n%v", diff, record.Drops)
	}
}

// With a Watcher, the Observer gives the reason for a lost packet that no rule, conntrack or counter explains: in the
// path, the timeline and the report.
func TestObserverIsExplainedByTheKernel(t *testing.T) {
	needs.Check(t, kernel.SourceReasons.Lack())
	t.Parallel()
	lab, err := ctexp.Open(t.Context(), netnsenv.Config{})
	needs.Check(t, err)
	defer lab.Close()
	w, err := dropreason.Open(lab.Env)
	needs.Check(t, err)
	defer w.Close()
	lab.Observer.SetDropSource(w)
	martian := web
	martian.Src = web.Dst // the host's own address, from outside
	if _, err := lab.Inject(t.Context(), packet.Packets(packet.SYN(martian), web.UDP(nil))); err != nil {
		t.Fatal(err)
	}

	path, err := lab.Observer.Path(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"1 of 2 lost between end/prerouting and mangle/input or mangle/forward: the source is an address of this host (IP_LOCAL_SOURCE 1)",
	}
	var got []string
	for _, l := range path.Losses() {
		got = append(got, l.String())
	}
	if diff := cmp.Diff(want, got); diff != "" || !strings.Contains(path.String(), "NO_SOCKET") {
		t.Errorf("losses (-want +got):\n%s\n%v", diff, path)
	}

	timeline, err := lab.Observer.Timeline(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	type drop struct {
		Frame  int
		Reason string
	}
	var drops []drop
	for _, m := range timeline.Of(observe.KindDrop) {
		reason, _, _ := strings.Cut(m.Text, " in ")
		drops = append(drops, drop{m.Frame, reason})
	}
	if diff := cmp.Diff([]drop{{1, "IP_LOCAL_SOURCE"}, {2, "NO_SOCKET"}}, drops); diff != "" {
		t.Errorf("timeline (-want +got):\n%s\n%v", diff, timeline)
	}

	dir := t.TempDir()
	if _, err := lab.WriteReport(t.Context(), dir, "X"); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"X.result.json": `"reason": "IP_LOCAL_SOURCE`, "X.timeline.txt": "drop      IP_LOCAL_SOURCE"} {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s (%v) has no %s:\n%s", file, err, want, b)
		}
	}
}
