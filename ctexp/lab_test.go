package ctexp_test

import (
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// A second Lab on the same Env knows nothing of what the first one saw.
func TestWatchCountsFromNothing(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true, Probes: []nf.Probe{nf.RawPrerouting}})
	x.Inject(packet.SYNs(3, web))
	again, err := ctexp.Watch(t.Context(), x.Env, observe.Config{MaxFrames: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Observer.Close()
	x.Inject(packet.SYNs(2, web.Nth(100)))

	got, err := again.Observer.Tally(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	want := observe.Tally{Packets: map[string]uint64{"raw/prerouting": 2}, Entries: 2}
	if diff := got.Diff(want); diff != "" {
		t.Errorf("tally of the second Lab (-want +got):\n%s", diff)
	}
	if frames, all := len(lines(again.Observer.Frames(t.Context()))), len(x.Frames()); frames != 2 || all != 5 {
		t.Errorf("%d frames in the second Lab and %d in the first, want 2 and 5", frames, all)
	}
}

func lines(seq func(func(packet.Record, error) bool)) (out []packet.Record) {
	for f, err := range seq {
		if err == nil {
			out = append(out, f)
		}
	}
	return out
}
