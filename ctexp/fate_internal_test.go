package ctexp

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// sampleFlow is the flow of the packets of snapshots that tests make by hand.
var sampleFlow = packet.Flow{Src: netip.MustParseAddrPort("198.18.0.2:10000"), Dst: netip.MustParseAddrPort("192.0.2.1:80")}

// Each part of a snapshot tells of a packet what it proves, and a weaker proof does not replace a stronger one.
func TestFatesFollowFromWhatWasSeen(t *testing.T) {
	t.Parallel()
	syn := in(packet.SYN(sampleFlow))
	second := in(packet.SYN(sampleFlow.Nth(1)))
	noPath := errors.New("the path is not known")
	step := observe.Step{Time: syn.Time, Dir: packet.In, Link: "tun0", Header: syn.Packet, Family: "ip", Table: "t", Chain: "c", Kind: observe.StepRule, Rule: "drop", Verdict: "drop"}
	drop := func(reason string) nf.Dropped {
		return nf.Dropped{Time: syn.Time, Reason: reason, Link: "tun0", Packet: syn.Packet, Length: len(syn.Packet)}
	}
	created := observe.Event{Time: syn.Time, Kind: observe.EventNew, Entry: nf.Entry{Orig: syn.Tuple(), Reply: syn.Tuple().Reverse(), State: nf.SynSent}}
	byRule := observe.CauseOf(drop("NETFILTER_DROP"))
	if byRule.Certain {
		t.Fatalf("%v is certain", byRule)
	}
	noSocket := observe.CauseOf(drop("NO_SOCKET"))
	full := observe.Cause{Kind: observe.CauseTableFull, Certain: true, Packets: 1}
	for name, c := range map[string]struct {
		snap snapshot
		want []Fate
	}{
		"nothing": {
			snapshot{record: observe.Record{Frames: []packet.Record{syn}}},
			[]Fate{{State: stateNoEntry, NoEntry: true}},
		},
		"an event": {
			snapshot{record: observe.Record{Frames: []packet.Record{syn}, Events: []observe.Event{created}}},
			[]Fate{{State: "NEW SYN_SENT"}},
		},
		"a reason": {
			snapshot{record: observe.Record{Frames: []packet.Record{syn}, Reasons: []observe.Reason{{Time: syn.Time, Link: "tun0", Packet: syn.Packet, Proto: nf.TCP, Text: "bad checksum"}}}},
			[]Fate{{State: stateInvalid, Invalid: true}},
		},
		"a step that drops": {
			snapshot{pathErr: noPath, record: observe.Record{Frames: []packet.Record{syn}, Steps: []observe.Step{step}}},
			[]Fate{{State: stateNoEntry, NoEntry: true, Lost: true, Causes: []observe.Cause{step.Cause()}}},
		},
		"a reason of the kernel": {
			snapshot{pathErr: noPath, record: observe.Record{Frames: []packet.Record{syn}, Drops: []nf.Dropped{drop("NO_SOCKET")}}},
			[]Fate{{State: stateNoEntry, NoEntry: true, Lost: true, Causes: []observe.Cause{noSocket}}},
		},
		"a reason that says little": {
			snapshot{pathErr: noPath, record: observe.Record{Frames: []packet.Record{syn}, Drops: []nf.Dropped{drop("NETFILTER_DROP")}}},
			[]Fate{{State: stateNoEntry, NoEntry: true, Lost: true, Causes: []observe.Cause{byRule}}},
		},
		"a reason that says little, beside a step": {
			snapshot{pathErr: noPath, record: observe.Record{Frames: []packet.Record{syn}, Steps: []observe.Step{step}, Drops: []nf.Dropped{drop("NETFILTER_DROP")}}},
			[]Fate{{State: stateNoEntry, NoEntry: true, Lost: true, Causes: []observe.Cause{step.Cause()}}},
		},
		"as many drops of a full table as packets without an entry": {
			snapshot{pathErr: noPath, tally: observe.Tally{Dropped: 1}, record: observe.Record{Frames: []packet.Record{syn, second}, Events: []observe.Event{created}}},
			[]Fate{{State: "NEW SYN_SENT"}, {State: stateNoEntry, NoEntry: true, Lost: true, Causes: []observe.Cause{full}}},
		},
		"fewer drops of a full table": {
			snapshot{pathErr: noPath, tally: observe.Tally{Dropped: 1}, record: observe.Record{Frames: []packet.Record{syn, second}}},
			[]Fate{{State: stateNoEntry, NoEntry: true}, {State: stateNoEntry, NoEntry: true}},
		},
		"drops that may be failures to insert": {
			snapshot{pathErr: noPath, tally: observe.Tally{Dropped: 2, InsertFailed: 1}, record: observe.Record{Frames: []packet.Record{syn, second}}},
			[]Fate{{State: stateNoEntry, NoEntry: true}, {State: stateNoEntry, NoEntry: true}},
		},
	} {
		got := c.snap.fates()
		if diff := cmp.Diff(c.want, got, cmpopts.IgnoreFields(Fate{}, "Frame", "Reasons", "Steps", "Places")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestFatePrintsWhatIsKnown(t *testing.T) {
	t.Parallel()
	full := observe.Cause{Kind: observe.CauseTableFull, Certain: true, Packets: 3, Counter: "drop"}
	for want, f := range map[string]Fate{
		"":                      {},
		"NEW SYN_SENT":          {State: "NEW SYN_SENT"},
		"dropped":               {Lost: true},
		"INVALID; bad checksum": {State: stateInvalid, Invalid: true, Reasons: []observe.Reason{{Text: "bad checksum"}}},
		"dropped; no entry; conntrack table full (drop +3)": {Lost: true, State: stateNoEntry, Causes: []observe.Cause{full}},
	} {
		if got := f.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
