package ctexp_test

import (
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// flood is one of UDP, in which each packet is a flow.
func flood(n, queues int) inject.Flood {
	return inject.Flood{
		Template: web.UDP(nil), N: n, Queues: queues,
		Vary: []inject.Vary{{Field: inject.VarySrcPort, Count: 1000}, {Field: inject.VarySrc, Count: 250}},
	}
}

// Everything that is asked after a flood agrees about it, and nothing was lost, though the host answers each packet.
func TestAFloodIsSeenByEverything(t *testing.T) {
	t.Parallel()
	const n = 3000
	for name, links := range map[string][]netnsenv.LinkConfig{"auto": nil, "veth": veth} {
		for _, queues := range []int{1, 3} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				x := ctexp.New(t, netnsenv.Config{Links: links})

				got := x.Flood(inject.Flood{
					Template: inject.Echo(web.Src.Addr(), web.Dst.Addr(), 1, 1, nil), N: n, Queues: queues,
					Vary: []inject.Vary{{Field: inject.VaryID, Count: 1000}, {Field: inject.VarySrc, Count: 250}},
				})

				if got.Sent != n || got.Arrived != n {
					t.Errorf("got %v", got)
				}
				want := observe.Tally{Entries: n}
				if diff := x.Tally().Diff(want); diff != "" {
					t.Errorf("tally (-want +got):\n%s", diff)
				}
				if flows, frames, events := len(x.Flows()), len(x.Frames()), len(x.Events()); flows != n || frames != 2*n || events < n {
					t.Errorf("%d flows, %d frames, %d events of %d pings that were answered", flows, frames, events, n)
				}
			})
		}
	}
}

// A table with room for 100 of a flood's flows drops the others.
func TestAFloodFillsATable(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true, Room: netnsenv.Free(100)})
	got := x.FloodBy("tun0", flood(1000, 1))
	want := observe.Tally{Entries: 100, Dropped: 900}
	if diff := x.Tally().Diff(want); diff != "" || got.Arrived != 1000 {
		t.Errorf("%v (-want +got):\n%s", got, diff)
	}
}

func TestAFloodThatIsWrongFailsTheTest(t *testing.T) {
	t.Parallel()
	ctexp.New(t, netnsenv.Config{})
	for want, f := range map[string]func(x *ctexp.Experiment){
		`no link "tun9"`:         func(x *ctexp.Experiment) { x.FloodBy("tun9", flood(1, 1)) },
		"1528 bytes into an MTU": func(x *ctexp.Experiment) { x.Flood(inject.Flood{Template: web.UDP(make([]byte, 1500)), N: 1}) },
		"neither N nor Duration": func(x *ctexp.Experiment) { x.Flood(flood(0, 1)) },
	} {
		fake := &fakeTB{}
		log := fake.run(func(fake *fakeTB) { f(ctexp.New(fake, netnsenv.Config{})) })
		if !fake.failed || !strings.Contains(log, want) {
			t.Errorf("failed %v: %s", fake.failed, log)
		}
	}
}
