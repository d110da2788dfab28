package ctexp_test

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/redtest"
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
					Template: packet.Echo(web.Src.Addr(), web.Dst.Addr(), 1, 1, nil), N: n, Queues: queues,
					Vary: []inject.Vary{{Field: inject.VaryID, Count: 1000}, {Field: inject.VarySrc, Count: 250}},
				})

				if got.Sent != n || got.Arrived != n {
					t.Errorf("got %v", got)
				}
				want := observe.Tally{Entries: n}
				if diff := x.Tally().Diff(want); diff != "" {
					t.Errorf("tally (-want +got):\n%s", diff)
				}
				// The host has not more answers under way than its socket for ICMP may hold (net/ipv4/icmp.c, icmp_sk_init): of a
				// flood on one CPU it may leave out some.
				answers := n
				for _, point := range x.Path().Points {
					if point.Probe.Name == "raw/output" {
						answers = int(point.Packets)
					}
				}
				if flows, frames, events := len(x.Flows()), len(x.Frames()), len(x.Events()); flows != n || frames != n+answers || events < n || answers == 0 {
					t.Errorf("%d flows, %d frames, %d events of %d pings, %d of which were answered", flows, frames, events, n, answers)
				}
			})
		}
	}
}

// A table with room for 100 of a flood's flows drops the others.
func TestAFloodFillsATable(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true, Room: netnsenv.Free(100)})
	got := x.FloodOn("tun0", flood(1000, 1))
	want := observe.Tally{Entries: 100, Dropped: 900}
	if diff := x.Tally().Diff(want); diff != "" || got.Arrived != 1000 {
		t.Errorf("%v (-want +got):\n%s", got, diff)
	}
}

func TestAFloodThatIsWrongFailsTheTest(t *testing.T) {
	t.Parallel()
	ctexp.New(t, netnsenv.Config{})
	for want, f := range map[string]func(x *ctexp.Experiment){
		`no link "tun9"`:         func(x *ctexp.Experiment) { x.FloodOn("tun9", flood(1, 1)) },
		"1528 bytes into an MTU": func(x *ctexp.Experiment) { x.Flood(inject.Flood{Template: web.UDP(make([]byte, 1500)), N: 1}) },
		"neither N nor Duration": func(x *ctexp.Experiment) { x.Flood(flood(0, 1)) },
	} {
		fake := &redtest.TB{}
		log := fake.Run(func(fake *redtest.TB) { f(ctexp.New(fake, netnsenv.Config{})) })
		if !fake.Failed() || !strings.Contains(log, want) {
			t.Errorf("failed %v: %s", fake.Failed(), log)
		}
	}
}

// flows are what an Env's table has, without what time makes of it.
func flows(x *ctexp.Experiment) (all []string) {
	for _, e := range x.Flows() {
		all = append(all, e.Orig.String()+" / "+e.Reply.String()+" "+e.Brief())
	}
	slices.Sort(all)
	return all
}

// recorded returns what an Env's Observer has captured as a file.
func recorded(t *testing.T, x *ctexp.Experiment) io.Reader {
	t.Helper()
	var file bytes.Buffer
	ctexp.Require(t, "write", observe.WritePcapng(&file, x.Frames(), nil))
	return &file
}

// What an Observer recorded makes the same flows in a fresh Env: only what came in is sent, and the host itself answers
// as it did.
func TestARecordingOfAnObserverMakesTheSameFlows(t *testing.T) {
	t.Parallel()
	translating := router
	translating.Rules = []netnsenv.Ruleset{netnsenv.NFT(`
		table ip nat {
			chain post { type nat hook postrouting priority srcnat; oifname "tun1" snat to 192.0.2.254; }
		}`)}
	server := web.Reverse()
	server.Dst = netip.MustParseAddrPort("192.0.2.254:10000")
	ping := packet.Echo(web.Src.Addr(), web.Dst.Addr(), 5, 1, []byte("ping!"))
	type step struct {
		link   string
		packet packet.Packet
	}
	conversation := func(back packet.Flow) []step {
		back1 := packet.Flow{Src: back.Src, Dst: netip.AddrPortFrom(back.Dst.Addr(), web.Nth(1).Src.Port())}
		return []step{
			{"tun0", packet.SYN(web)}, {"tun1", packet.SYNACK(back)}, {"tun0", packet.ACK(web)}, {"tun0", packet.FIN(web)},
			{"tun0", web.Nth(1).UDP([]byte("question"))}, {"tun1", back1.UDP([]byte("answer"))},
			{"tun0", packet.SYN(web.Nth(2))}, {"tun0", ping},
		}
	}
	for name, c := range map[string]struct {
		cfg   netnsenv.Config
		steps []step
	}{
		"host":   {netnsenv.Config{}, []step{{"tun0", ping}, {"tun0", web.UDP(nil)}, {"tun0", packet.SYN(web)}}},
		"router": {router, conversation(web.Reverse())},
		"nat":    {translating, conversation(server)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x, y := ctexp.New(t, c.cfg), ctexp.New(t, c.cfg)
			for _, s := range c.steps {
				x.InjectOn(s.link, packet.Packets(s.packet))
			}

			got := y.Replay(packet.ReadRecording(recorded(t, x)), inject.Replay{})

			if got.Sent != len(c.steps) || got.Read != len(x.Frames()) {
				t.Errorf("%v of %d packets and %d frames", got, len(c.steps), len(x.Frames()))
			}
			if diff := ctexp.Diff(flows(x), flows(y)); diff != "" || len(flows(x)) == 0 {
				t.Errorf("flows, recorded and replayed:\n%s", diff)
			}
		})
	}
}

// The host drops replayed frames that are tagged for a VLAN that it does not have.
func TestARecordingKeepsItsTags(t *testing.T) {
	t.Parallel()
	cfg := netnsenv.Config{Links: []netnsenv.LinkConfig{{
		Name: "eth0", Kind: netnsenv.Veth, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")},
	}}}
	x, y := ctexp.New(t, cfg), ctexp.New(t, cfg)
	link := x.Env.Link("eth0")
	frame := func(i int) packet.Frame {
		return web.Nth(i).UDP(nil).Frame(link.PeerHardwareAddr(), link.HardwareAddr())
	}
	x.InjectFrames("eth0", packet.Frames(frame(0), frame(1).VLAN(7), frame(2).VLAN(0), frame(3).VLAN(8).VLAN(7)))

	got := y.Replay(packet.ReadRecording(recorded(t, x)), inject.Replay{})

	tags := func(x *ctexp.Experiment) (all []string) {
		for _, f := range x.Frames() {
			all = append(all, fmt.Sprint(f.Dir, f.VLANs()))
		}
		return all
	}
	if diff := cmp.Diff(tags(x), tags(y)); diff != "" || got.Sent != 4 {
		t.Errorf("%v; tags, recorded and replayed:\n%s", got, diff)
	}
	if diff := ctexp.Diff(flows(x), flows(y)); diff != "" || len(flows(x)) != 2 {
		t.Errorf("flows %v, recorded and replayed:\n%s", flows(x), diff)
	}
}

// A capture of both sides, made elsewhere without directions and under other addresses.
func TestARecordingOfElsewhereIsMappedIntoTheEnv(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, router)
	client := packet.Flow{Src: netip.MustParseAddrPort("10.1.2.3:40000"), Dst: netip.MustParseAddrPort("203.0.113.80:8080")}
	var file bytes.Buffer
	w := pcapgo.NewWriter(&file)
	ctexp.Require(t, "write", w.WriteFileHeader(65535, layers.LinkTypeRaw))
	for _, p := range []packet.Packet{packet.SYN(client), packet.SYNACK(client.Reverse()), packet.ACK(client)} {
		ctexp.Require(t, "write", w.WritePacket(gopacket.CaptureInfo{CaptureLength: len(p), Length: len(p)}, p))
	}

	got := x.Replay(packet.ReadRecording(&file), inject.Replay{Remap: packet.Remap{
		Addrs: map[netip.Prefix]netip.Prefix{
			netip.MustParsePrefix("10.1.2.3/32"):     netip.PrefixFrom(web.Src.Addr(), 32),
			netip.MustParsePrefix("203.0.113.80/32"): netip.PrefixFrom(web.Dst.Addr(), 32),
		},
		Ports: map[uint16]uint16{40000: web.Src.Port(), 8080: web.Dst.Port()},
	}})

	if want := "3 packets read: 3 sent (tun0 2, tun1 1)"; got.String() != want {
		t.Errorf("got %q, want %q", got, want)
	}
	e := x.Flows()
	if len(e) != 1 || e[0].Orig != web.Tuple(nf.TCP) || e[0].Brief() != "ESTABLISHED [ASSURED]" {
		t.Errorf("flows %v", e)
	}
}

// Where the recording knows no directions, what comes from an address of the host itself is left out.
func TestAReplayLeavesOutWhatTheHostItselfSends(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{})
	got := x.Replay(packet.Records(packet.SYN(web).On("", 0), packet.RST(web.Reverse()).On("", 0)), inject.Replay{})
	if got.Sent != 1 || got.LeftOut != 1 {
		t.Errorf("got %v", got)
	}
}

// What one Experiment has captured is replayed in another as it is: the router sees the same conversation and has the same flows.
func TestFramesAreReplayedIntoAnotherExperiment(t *testing.T) {
	t.Parallel()
	recorded := ctexp.New(t, router)
	recorded.Handshake(recorded.TCP("tun0", web), recorded.TCP("tun1", packet.Flow{Src: web.Dst}))
	recorded.Inject(packet.Packets(web.Nth(1).UDP([]byte("question"))))
	frames := recorded.Frames()
	x := ctexp.New(t, router)

	got := x.Replay(packet.Records(frames...), inject.Replay{})

	if want := "8 packets read: 4 sent (tun0 3, tun1 1), 4 left out"; got.String() != want {
		t.Errorf("got %q, want %q", got, want)
	}
	flows := func(x *ctexp.Experiment) (out []string) {
		for _, e := range x.Flows() {
			out = append(out, fmt.Sprint(e.Orig, e.Reply, e.Brief()))
		}
		slices.Sort(out)
		return out
	}
	if diff := ctexp.Diff(flows(recorded), flows(x)); diff != "" || len(flows(x)) != 2 {
		t.Errorf("flows (-recorded +replayed):\n%s", diff)
	}
	seen := func(frames []packet.Record) (out []string) {
		for i, r := range frames {
			if r.Number != i+1 {
				t.Errorf("frame %d has the number %d", i+1, r.Number)
			}
			out = append(out, r.Line())
		}
		return out
	}
	if diff := ctexp.Diff(seen(frames), seen(x.Frames())); diff != "" {
		t.Errorf("frames (-recorded +replayed):\n%s", diff)
	}
}

func TestATruncatedRecordingFailsBehindWhatItHas(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true})
	x.Inject(packet.SYNs(3, web))
	whole, err := io.ReadAll(recorded(t, x))
	ctexp.Require(t, "read", err)
	y := ctexp.New(t, netnsenv.Config{Silent: true})

	got, err := y.Lab.Replay(t.Context(), packet.ReadRecording(bytes.NewReader(whole[:len(whole)-1])), inject.Replay{})

	if got.Sent != 2 || len(y.Flows()) != 2 || err == nil || !strings.Contains(err.Error(), "packet 3: the file is truncated") {
		t.Errorf("%v, %v; flows %v", got, err, y.Flows())
	}
}

// What carries a call of PPTP is known by the call of its receiver.
func TestTheTupleOfACallIsThatOfItsEntry(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, router)
	call := web.PPTP(packet.PPTP{CallID: 5, Seq: 1, Payload: []byte("PPP")})

	got := x.States(call.Tuple(), packet.Packets(call))

	if diff := ctexp.Diff([]string{"gre [UNREPLIED]"}, got); diff != "" {
		t.Errorf("entry of %v (-want +got):\n%s%v", call.Tuple(), diff, x.Flows())
	}
}
