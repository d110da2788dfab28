package observer

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// A namespace that somebody else has made, a container's say, is observed by the same code, and nothing in it is changed.
func TestNamespaceOfOthersIsObserved(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true}) // stands for the container

	place, err := observe.At(x.Env.Path())
	ctexp.Require(t, "open the namespace", err)
	defer place.Close()
	o, err := observe.Open(t.Context(), place, observe.Config{})
	ctexp.Require(t, "observe it", err)
	defer o.Close()
	x.Inject(packet.SYNs(3, web))

	n := 0
	for e, err := range o.Flows(t.Context(), nf.Filter{Proto: nf.TCP}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.State == nf.SynSent {
			n++
		}
	}
	if n != 3 {
		x.Errorf("%d flows in SYN_SENT, want 3", n)
	}
}

// A failed test explains itself; a report can be asked for as well.
func TestReportIsWrittenOnRequest(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true})
	x.Inject(packet.SYNs(3, web))

	dir := t.TempDir()
	files, err := x.WriteReport(t.Context(), dir, "three-syns")
	if err != nil {
		t.Fatal(err)
	}

	want := []string{
		"three-syns.report.html", "three-syns.result.json", "three-syns.capture.pcapng", "three-syns.flows.txt",
		"three-syns.stats.txt", "three-syns.sysctl-diff.txt", "three-syns.timeline.txt",
	}
	if diff := ctexp.Diff(want, files); diff != "" {
		x.Errorf("files (-want +got):\n%s", diff)
	}
	flows, err := os.ReadFile(filepath.Join(dir, "three-syns.flows.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Split(strings.TrimSpace(string(flows)), "\n"); !slices.Equal(got, lines(x.Flows())) {
		x.Errorf("flows.txt has %q", got)
	}
	if screen := x.Report(t.Context()); !strings.Contains(screen, "--- flows (3)") { // the same for a terminal
		x.Errorf("the report in text is\n%s", screen)
	}
}
