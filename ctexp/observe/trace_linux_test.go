package observe_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/needs"
)

func (l lab) steps() []observe.Step {
	l.Helper()
	var steps []observe.Step
	for s, err := range l.o.Trace(l.Context()) {
		if err != nil {
			needs.Check(l, err)
		}
		steps = append(steps, s)
	}
	return steps
}

// timeless prints steps without their times, and without the state, which not every kernel reports.
func timeless(steps []observe.Step) []string {
	var s []string
	for _, step := range steps {
		step.State = 0
		_, rest, _ := strings.Cut(step.String(), " ")
		s = append(s, rest)
	}
	return s
}

// to returns the flow web with another destination port.
func to(port string) packet.Flow {
	return packet.Flow{Src: web.Src, Dst: addrPort("192.0.2.1:" + port)}
}

// Every rule that a packet met is returned, in order, with the frame of the packet. A packet that another one caused
// is separate from it.
func TestTraceHasTheRulesThatPacketsMet(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Trace: true, Rules: []netnsenv.Ruleset{netnsenv.NFT(`table ip u {
	chain web { ct state new counter; tcp dport 80 drop; }
	chain pre { type filter hook prerouting priority -300; tcp dport 80 counter; }
	chain in { type filter hook input priority 0; tcp dport 80 jump web; tcp dport 81 reject; }
	chain out { type filter hook output priority 0; ip protocol icmp accept; }
}`)}})
	x.send(packet.SYN(to("80")), packet.SYN(to("81")), packet.SYN(to("82")))

	steps, frames := x.steps(), x.captured()
	want := []string{
		"#0 tun0 In  ip u pre rule tcp dport 80 counter (verdict continue)",
		"#0 tun0 In  ip u pre policy accept",
		"#0 tun0 In  ip u in rule tcp dport 80 jump web (verdict jump web)",
		"#0 tun0 In  ip u web rule ct state new counter (verdict continue)",
		"#0 tun0 In  ip u web rule tcp dport 80 drop (verdict drop)",
		"#1 tun0 In  ip u pre policy accept",
		"#2 tun0 Out ip u out rule ip protocol icmp accept (verdict accept)",
		"#1 tun0 In  ip u in rule tcp dport 81 reject (verdict drop)",
		"#3 tun0 In  ip u pre policy accept",
		"#3 tun0 In  ip u in policy accept",
		"#4 tun0 Out ip u out policy accept",
	}
	if diff := cmp.Diff(want, timeless(steps)); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	of, rest := observe.StepsOf(frames, steps)
	var packets [][]int
	for i := range frames {
		var n []int
		for _, s := range of[i] {
			n = append(n, s.Packet)
			if !s.Time.Equal(frames[i].Time) {
				t.Errorf("step %v, frame %v", s, frames[i])
			}
		}
		packets = append(packets, n)
	}
	if diff := cmp.Diff([][]int{{0, 0, 0, 0, 0}, {1, 1}, {2}, {3, 3}, {4}}, packets); diff != "" || len(rest) != 0 {
		t.Errorf("beside the frames, and %v (-want +got):\n%s", rest, diff)
	}
}

// A step has the conntrack state of its packet, or none if the kernel does not report it.
func TestTraceHasTheConntrackState(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, Trace: true, Rules: []netnsenv.Ruleset{netnsenv.NFT(`table inet u {
	chain in { type filter hook input priority 0; }
}`)}})
	x.send(client(syn|fin, 1, 0, 0), packet.SYN(to("81")))
	var got []nf.CTState
	for _, s := range x.steps() {
		got = append(got, s.State)
	}
	want := []nf.CTState{0, nf.StateNew} // of an INVALID one the kernel tells nothing
	if !kernel.TraceState.Here() {
		want = []nf.CTState{0, 0}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Rules of iptables-nft are shown in the syntax of iptables.
func TestTraceOfIPTables(t *testing.T) {
	t.Parallel()
	rules := []string{"-N WEB", "-A WEB -p tcp -m tcp --dport 80 -j DROP", "-A INPUT -p tcp -j WEB", "-P INPUT ACCEPT"}
	x := open(t, netnsenv.Config{Silent: true, Trace: true, Rules: []netnsenv.Ruleset{netnsenv.IPTables(netnsenv.IPTablesNFT, rules...)}})
	x.send(packet.SYN(to("80")), packet.SYN(to("81")))
	want := []string{
		"#0 tun0 In  ip filter INPUT rule -p tcp -j WEB (verdict jump WEB)",
		"#0 tun0 In  ip filter WEB rule -p tcp -m tcp --dport 80 -j DROP (verdict drop)",
		"#1 tun0 In  ip filter INPUT rule -p tcp -j WEB (verdict jump WEB)",
		"#1 tun0 In  ip filter INPUT policy accept",
	}
	if diff := cmp.Diff(want, timeless(x.steps())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A rule of the user enables tracing from there on, without netnsenv: of nft, and TRACE of iptables-nft.
func TestTraceEnabledByTheUser(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rules netnsenv.Ruleset
		want  []string // of the last of three equal packets
	}{
		"nft": {
			netnsenv.NFT(`table ip u {
	chain pre { type filter hook prerouting priority -300; tcp dport 80 meta nftrace set 1; }
	chain in { type filter hook input priority 0; tcp dport 80 drop; }
}`),
			[]string{
				"#2 tun0 In  ip u pre rule tcp dport 80 meta nftrace set 1 (verdict continue)",
				"#2 tun0 In  ip u pre policy accept",
				"#2 tun0 In  ip u in rule tcp dport 80 drop (verdict drop)",
			},
		},
		"iptables": {
			netnsenv.IPTables(netnsenv.IPTablesNFT, "-t raw -A PREROUTING -p tcp --dport 80 -j TRACE", "-A INPUT -p tcp -j DROP"),
			[]string{
				"#2 tun0 In  ip raw PREROUTING rule -p tcp -m tcp --dport 80 -j TRACE (verdict continue)",
				"#2 tun0 In  ip raw PREROUTING policy accept",
				"#2 tun0 In  ip filter INPUT rule -p tcp -j DROP (verdict drop)",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := open(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{c.rules}})
			if got := x.steps(); len(got) != 0 {
				t.Errorf("before any packet: %v", got)
			}
			x.send(packet.SYN(to("80")), packet.SYN(to("80")), packet.SYN(to("80")), packet.SYN(to("81")))
			var last []string
			for _, s := range timeless(x.steps()) {
				if strings.HasPrefix(s, "#2 ") {
					last = append(last, s)
				}
			}
			if diff := cmp.Diff(c.want, last); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The kernel reuses packet ids. Each of thousands of identical packets still has its own steps, if drained as
// Lab.Inject does it.
func TestTraceSeparatesIdenticalPackets(t *testing.T) {
	t.Parallel()
	const n = 5_000
	x := open(t, netnsenv.Config{Silent: true, Trace: true, Rules: []netnsenv.Ruleset{netnsenv.NFT(`table ip u {
	chain pre { type filter hook prerouting priority -300; tcp dport 80 counter; }
	chain in { type filter hook input priority 0; numgen inc mod 2 0 drop; }
}`)}})
	_, err := inject.New(x.env.Links()[0]).Send(t.Context(), func(yield func(packet.Packet) bool) {
		for i := range n {
			if i%256 == 0 {
				x.o.Drain()
			}
			if !yield(packet.SYN(to("80"))) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	frames := x.captured()
	of, rest := observe.StepsOf(frames, x.steps())
	if len(frames) != n || len(rest) != 0 {
		t.Fatalf("%d frames, %d steps without one", len(frames), len(rest))
	}
	verdicts := map[string]int{}
	for i, steps := range of {
		if len(steps) != 3 {
			t.Fatalf("frame %d has %d steps: %v", i, len(steps), steps)
		}
		verdicts[steps[2].Verdict]++
		if want := []string{"drop", "accept"}[i%2]; steps[2].Verdict != want {
			t.Fatalf("frame %d: %v, want %s", i, steps[2], want)
		}
	}
	if diff := cmp.Diff(map[string]int{"drop": n / 2, "accept": n / 2}, verdicts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Steps of a translated packet, and of an IPv6 packet, show the packet as it came in.
func TestTraceOfATranslatedPacketAndOfIPv6(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{
		Trace: true, Silent: true,
		Links: []netnsenv.LinkConfig{{Prefixes: prefixes("192.0.2.1/24", "2001:db8::1/64")}},
		Rules: []netnsenv.Ruleset{netnsenv.NFT(`table inet u {
	chain nat { type nat hook prerouting priority -100; tcp dport 80 redirect to :8080; }
	chain in { type filter hook input priority 0; tcp dport 8080 drop; }
}`)},
	})
	x.send(packet.SYN(web), packet.SYN(web6))
	steps := x.steps()
	want := []string{
		"#0 tun0 In  inet u nat rule tcp dport 80 redirect to :8080 (verdict accept)",
		"#0 tun0 In  inet u in rule tcp dport 8080 drop (verdict drop)",
		"#1 tun0 In  inet u nat rule tcp dport 80 redirect to :8080 (verdict accept)",
		"#1 tun0 In  inet u in rule tcp dport 8080 drop (verdict drop)",
	}
	if diff := cmp.Diff(want, timeless(steps)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	frames := x.captured()
	of, rest := observe.StepsOf(frames, steps)
	if len(rest) != 0 || len(of[0]) != 2 || len(of[1]) != 2 {
		t.Errorf("beside %v: %v; the rest: %v", frames, of, rest)
	}
}

// Each fragment is a packet of its own. The last one continues as the reassembled packet.
func TestTraceOfFragments(t *testing.T) {
	t.Parallel()
	whole := web.UDP(make([]byte, 64))
	fragment := func(from, n int, more bool) packet.Packet {
		flags := layers.IPv4Flag(0)
		if more {
			flags = layers.IPv4MoreFragments
		}
		p, err := packet.Build(&layers.IPv4{
			TTL: 64, Id: 7, Flags: flags, FragOffset: uint16(from / 8), Protocol: layers.IPProtocolUDP,
			SrcIP: web.Src.Addr().AsSlice(), DstIP: web.Dst.Addr().AsSlice(),
		}, gopacket.Payload(whole[20+from:20+from+n]))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	x := open(t, netnsenv.Config{Silent: true, Trace: true, Rules: []netnsenv.Ruleset{netnsenv.NFT(`table ip u {
	chain in { type filter hook input priority 0; udp dport 80 drop; }
}`)}})
	x.send(fragment(0, 40, true), fragment(40, 32, false))
	steps := x.steps()
	if len(steps) != 1 || steps[0].Verdict != "drop" {
		t.Fatalf("got %v", steps)
	}
	of, rest := observe.StepsOf(x.captured(), steps)
	if len(rest) != 0 || len(of) != 2 || len(of[0])+len(of[1]) != 1 {
		t.Errorf("beside the fragments: %v, the rest: %v", of, rest)
	}
}

func TestLostStepsAreAnError(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, Trace: true, Rules: []netnsenv.Ruleset{netnsenv.NFT(`table ip u {
	chain in { type filter hook input priority 0; tcp dport 80 drop; }
}`)}})
	observe.ShrinkTrace(x.o)
	release := observe.HoldTrace(x.o)
	x.sendSYNs(2_000, web)
	release()
	var last error
	got := 0
	for _, err := range x.o.Trace(t.Context()) {
		if last = err; err == nil {
			got++
		}
	}
	if !errors.Is(last, observe.ErrTraceLost) || !strings.Contains(last.Error(), "receive buffer was full") || got == 2_000 {
		t.Errorf("got %d steps, then %v", got, last)
	}
}

func TestUnsupportedTrace(t *testing.T) {
	t.Parallel()
	t.Run("nothing traces", func(t *testing.T) {
		t.Parallel()
		x := open(t, netnsenv.Config{Silent: true})
		x.send(packet.SYN(web))
		err := lastError(x.o.Trace(t.Context()))
		if !errors.Is(err, observe.ErrOff) || !strings.Contains(err.Error(), "netnsenv.Config.Trace") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no packet yet", func(t *testing.T) {
		t.Parallel()
		x := open(t, netnsenv.Config{Trace: true})
		if err := lastError(x.o.Trace(t.Context())); err != nil {
			t.Errorf("got %v", err)
		}
	})
	t.Run("closed", func(t *testing.T) {
		t.Parallel()
		x := open(t, netnsenv.Config{Trace: true})
		if err := x.o.Close(); err != nil {
			t.Fatal(err)
		}
		if err := lastError(x.o.Trace(t.Context())); !errors.Is(err, os.ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

// The cost of the trace for each packet.
func BenchmarkTrace(b *testing.B) {
	for _, trace := range []bool{false, true} {
		b.Run(fmt.Sprint(trace), func(b *testing.B) {
			x := open(b, netnsenv.Config{Silent: true, Trace: trace}, func(c *observe.Config) { c.NoFrames = true })
			p := packet.SYN(web)
			for i := 0; b.Loop(); i++ {
				if i%256 == 0 {
					x.o.Drain()
				}
				if _, err := x.env.Links()[0].Write(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
