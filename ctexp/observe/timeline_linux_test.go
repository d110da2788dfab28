package observe_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// timeline returns the lines of a Timeline without their times.
func (l lab) timeline(kinds ...observe.MomentKind) []string {
	l.Helper()
	t, err := l.o.Timeline(l.Context())
	if err != nil {
		l.Fatal(err)
	}
	var lines []string
	for _, m := range t.Moments {
		for _, k := range kinds {
			if m.Kind == k {
				_, line, _ := strings.Cut(m.String(), " ")
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// Frames, reasons, rules and changes of the counts are in one list.
func TestTimelineHasWhatHappened(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, Probes: []nf.Probe{nf.RawPrerouting, nf.ManglePrerouting}})
	needs.Check(t, lastError(x.o.Reasons(t.Context())))
	x.send(packet.SYN(web))
	x.o.Mark(t.Context(), "a SYN")
	x.send(web.TCP(packet.TCP{Flags: packet.FlagSYN | packet.FlagFIN}))
	x.o.Mark(t.Context(), "nonsense")
	x.send(packet.RST(web))
	x.o.Mark(t.Context(), "a RST")

	const flow = "src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10000"
	want := []string{
		"frame  #1 tun0 In  IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0",
		"event     NEW tcp SYN_SENT " + flow,
		"count  a SYN: raw/prerouting +1, mangle/prerouting +1, entries +1",
		"frame  #2 tun0 In  IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [FS], seq 0, win 65535, length 0",
		"reason    tcp: invalid tcp flag combination",
		"count  nonsense: raw/prerouting +1, mangle/prerouting +1, invalid +1",
		"frame  #3 tun0 In  IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [R], seq 2, win 65535, length 0",
		"event     DESTROY tcp CLOSE " + flow,
		"count  a RST: raw/prerouting +1, mangle/prerouting +1, entries -1, by packet +1",
	}
	if !kernel.EndsTold.Here() {
		for i, line := range want {
			line = strings.Replace(line, "DESTROY tcp CLOSE", "DESTROY tcp NONE", 1)
			want[i] = strings.Replace(line, "by packet", "untold", 1)
		}
	}
	got := x.timeline(observe.KindFrame, observe.KindReason, observe.KindEvent, observe.KindCount)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The rules that a packet met are below its frame.
func TestTimelineHasTheRulesThatPacketsMet(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, Trace: true, Rules: []netnsenv.Ruleset{netnsenv.NFT(
		"table ip u { chain in { type filter hook input priority 0; tcp dport 80 drop; }; }")}})
	needs.Check(t, lastError(x.o.Trace(t.Context())))
	x.send(packet.SYN(web), web.UDP(nil))

	want := []string{
		"frame  #1 tun0 In  IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0",
		"trace     ip u in rule tcp dport 80 drop (verdict drop)",
		"frame  #2 tun0 In  IP 198.18.0.2.10000 > 192.0.2.1.80: UDP, length 0",
		"trace     ip u in policy accept",
	}
	if diff := cmp.Diff(want, x.timeline(observe.KindFrame, observe.KindTrace)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Changes since the last mark are included.
func TestTimelineCountsUntilNow(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	x.send(packet.SYN(web))
	if diff := cmp.Diff([]string{"count  entries +1"}, x.timeline(observe.KindCount)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTimelineSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true}, func(c *observe.Config) { c.NoFrames = true })
	x.send(packet.SYN(web))
	got, err := x.o.Timeline(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const want = "frames: no frames: the Observer was opened with NoFrames"
	if len(got.Missing) == 0 || got.Missing[0] != want || !strings.Contains(got.String(), "\n("+want+")\n") {
		t.Errorf("missing %q, in\n%v", got.Missing, got)
	}
}

// Lost frames are an error, and the Timeline has the others.
func TestTimelineWithLostFramesIsAnError(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true}, func(c *observe.Config) { c.MaxFrames = 2 })
	x.sendSYNs(3, web)
	got, err := x.o.Timeline(t.Context())
	if !errors.Is(err, observe.ErrFramesLost) || len(got.Of(observe.KindFrame)) != 2 || len(got.Missing) == 0 {
		t.Errorf("error %v, timeline\n%v", err, got)
	}
}

func TestTimelineAfterCloseIsAnError(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{})
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := x.o.Timeline(over); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := x.o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := x.o.Timeline(t.Context()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	x.o.Mark(t.Context(), "nobody looks") // and does nothing
}

// A record says how many marks it lacks, and of what it has all that nothing is missing.
func TestRecordLacksMarksBeyondTheLimit(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{})
	x.reasons() // skips where the kernel does not log
	observe.FillMarks(x.o, 7)
	r, err := x.o.Record(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []observe.RecordPart{observe.PartFrames, observe.PartUnexplained, observe.PartEvents} {
		if err := r.Lacks(part); err != nil {
			t.Errorf("%s: %v", part, err)
		}
	}
	if got, want := fmt.Sprint(r.Lacks(observe.PartCounts)), "counts: the last 7 of 1007 marks were not stored"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The first part of a record costs the same whatever follows, and says what it lacks. What is counted is counted of all.
func TestFirstOfARecord(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	x.sendSYNs(30, web)
	all, err := x.o.Record(t.Context())
	if err != nil || all.Cut(observe.PartFrames) != nil || all.Cut(observe.PartEvents) != nil {
		t.Fatalf("%v; cut: %v, %v", err, all.Cut(observe.PartFrames), all.Cut(observe.PartEvents))
	}
	r, err := x.o.RecordFirst(t.Context(), 5)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(r.Frames, all.Frames[:5]) || !reflect.DeepEqual(r.Events, all.Events[:5]) {
		t.Errorf("%d frames and %d events, want the first 5 of 30 each", len(r.Frames), len(r.Events))
	}
	want := []observe.CutError{{Part: observe.PartFrames, Kept: 5, Of: 30}, {Part: observe.PartEvents, Kept: 5, Of: 30}}
	for _, w := range want {
		if cut := r.Cut(w.Part); cut == nil || *cut != w || cut.Error() != fmt.Sprintf("%s: the first %d of 30", w.Part, w.Kept) {
			t.Errorf("%s: %v, want %v", w.Part, cut, w)
		}
	}
	if n := r.Incoming(nf.IPv4); n != 30 || r.Incoming(nf.IPv6) != 0 {
		t.Errorf("%d came in, want 30", n)
	}
	var some, whole bytes.Buffer
	if err := errors.Join(r.WritePcapng(&some, nil), observe.WritePcapng(&whole, all.Frames, nil)); err != nil || !bytes.Equal(some.Bytes(), whole.Bytes()) {
		t.Errorf("%v; the captures have %d and %d bytes", err, some.Len(), whole.Len())
	}
	if as := x.events(); len(as) != 30 {
		t.Errorf("%d events afterwards", len(as))
	}
}
