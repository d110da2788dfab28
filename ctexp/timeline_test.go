package ctexp_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// Each Inject leaves its mark behind its packets: what it has changed.
func TestTimelineTellsInjectionsApart(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Links: veth, Silent: true, Probes: []nf.Probe{nf.RawPrerouting}})

	x.Inject(inject.SYNs(2, web))
	x.InjectBy("tun0", inject.Packets(web.UDP(nil)))

	type line struct {
		Kind observe.MomentKind
		Text string
	}
	want := []line{
		{observe.KindFrame, "tun0 In  IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0"},
		{observe.KindFrame, "tun0 In  IP 198.18.0.2.10001 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0"},
		{observe.KindCount, "2 packets by tun0: raw/prerouting +2, entries +2"},
		{observe.KindFrame, "tun0 In  IP 198.18.0.2.10000 > 192.0.2.1.80: UDP, length 0"},
		{observe.KindCount, "1 packet by tun0: raw/prerouting +1, entries +1"},
	}
	var got []line
	for _, m := range x.Timeline().Moments {
		if m.Kind == observe.KindFrame || m.Kind == observe.KindCount {
			got = append(got, line{m.Kind, m.Text})
		}
	}
	if diff := ctexp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The file beside the capture reads as the Timeline prints itself, with the frames numbered as in the capture.
func TestTimelineIsKeptAsItPrints(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Links: veth, Silent: true, Trace: true})
	x.Inject(inject.SYNs(2, web))
	dir := t.TempDir()

	if _, err := x.WriteReport(t.Context(), dir, "two"); err != nil {
		t.Fatal(err)
	}

	got, err := os.ReadFile(filepath.Join(dir, "two.timeline.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := ctexp.Diff(strings.TrimSpace(x.Timeline().String()), strings.TrimSpace(string(got))); diff != "" {
		t.Errorf("(-Timeline +timeline.txt):\n%s", diff)
	}
}
