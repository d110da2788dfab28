package ctexp_test

import (
	"fmt"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/kernel"
)

// What conntrack calls each packet of a conversation through a router.
func TestClassesOfPackets(t *testing.T) {
	t.Parallel()
	answer := question.Reverse()
	client, server := question.Src.Addr(), question.Dst.Addr()
	tcp := func(f packet.Flow, flags packet.TCPFlags, seq, ack uint32, data string) packet.Packet {
		return f.TCP(packet.TCP{Flags: flags, Seq: seq, Ack: ack, Payload: []byte(data)})
	}
	open := []packet.Packet{packet.SYN(question), packet.SYNACK(answer), packet.ACK(question)}
	opened := []string{"NEW", "ESTABLISHED_REPLY", "ESTABLISHED"}
	whole := question.UDP(make([]byte, 2000))
	overSEQ, overACK := "SEQ is over upper bound 65538", "ACK is over upper bound 3"
	if !kernel.BesideWindowPasses.Here() { // and whose reasons have no numbers
		overSEQ, overACK = "SEQ is over the upper bound", "ACK is over the upper bound"
	}
	for name, c := range map[string]struct {
		packets []packet.Packet
		want    []string
	}{
		"life of a TCP connection": {
			append(open, tcp(question, packet.FlagACK|packet.FlagPSH, 2, 2, "data"), tcp(answer, packet.FlagACK, 2, 6, ""),
				tcp(question, packet.FlagFIN|packet.FlagACK, 6, 2, ""), tcp(answer, packet.FlagFIN|packet.FlagACK, 2, 7, ""),
				tcp(question, packet.FlagACK, 7, 3, ""), packet.SYN(question).With(packet.Seq(100))),
			append(opened, "ESTABLISHED", "ESTABLISHED_REPLY", "ESTABLISHED", "ESTABLISHED_REPLY", "ESTABLISHED", "NEW"),
		},
		"SYN again":                {[]packet.Packet{open[0], open[0], open[1]}, []string{"NEW", "NEW", "ESTABLISHED_REPLY"}},
		"SYN on ESTABLISHED":       {append(open, packet.SYN(question).With(packet.Seq(9000))), append(opened, "ESTABLISHED")},
		"picked up":                {[]packet.Packet{packet.ACK(question), packet.ACK(answer)}, []string{"NEW", "ESTABLISHED_REPLY"}},
		"first packet SYN and FIN": {[]packet.Packet{tcp(question, packet.FlagSYN|packet.FlagFIN, 1, 0, "")}, []string{"INVALID: invalid tcp flag combination"}},
		"bad checksum":             {[]packet.Packet{packet.SYN(question).With(packet.Checksum(1)), open[0]}, []string{"INVALID: bad checksum", "NEW"}},
		"far over the window": {
			append(open, tcp(question, packet.FlagACK, 1_000_000, 2, "x")),
			append(opened, "INVALID: "+overSEQ+" (over the window of the receiver)"),
		},
		"ACK of what was not sent": {
			append(open, tcp(question, packet.FlagACK, 2, 5000, "")),
			append(opened, "INVALID: "+overACK+" (ACKed data not seen yet)"),
		},
		"UDP": {
			[]packet.Packet{question.UDP(nil), question.UDP(nil), answer.UDP(nil), question.UDP(nil)},
			[]string{"NEW", "NEW", "ESTABLISHED_REPLY", "ESTABLISHED"},
		},
		"echo": {
			[]packet.Packet{packet.Echo(client, server, 7, 1, nil), packet.EchoReply(server, client, 7, 1, nil), packet.EchoReply(server, client, 8, 1, nil)},
			[]string{"NEW", "ESTABLISHED_REPLY", "INVALID"},
		},
		"ICMP errors": {
			[]packet.Packet{
				question.UDP(nil), packet.Unreachable(server, 3, question.UDP(nil)),
				answer.UDP(nil), packet.Unreachable(client, 3, answer.UDP(nil)), packet.Unreachable(server, 3, question.UDP(nil).With(packet.SrcPort(9))),
			},
			[]string{"NEW", "RELATED_REPLY", "ESTABLISHED_REPLY", "RELATED", "INVALID"},
		},
		"fragments":     {whole.Fragments(1400), []string{"none", "NEW"}},
		"untracked":     {[]packet.Packet{question.UDP(nil).With(packet.DstPort(99))}, []string{"UNTRACKED"}},
		"identical one": {[]packet.Packet{question.UDP(nil), answer.UDP(nil), question.UDP(nil)}, []string{"NEW", "ESTABLISHED_REPLY", "ESTABLISHED"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := ctexp.New(t, holdRouter(netnsenv.NFT("table ip t {\n chain c {\n type filter hook prerouting priority raw\n udp dport 99 notrack\n }\n }")))

			got := x.Classes(packet.Packets(c.packets...))

			if diff := ctexp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// With Config.Classes frames have their class: those that came in, and the host's own answers; not those that leave
// after they were forwarded.
func TestFramesHaveTheirClass(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Classes: true})
	sent := []packet.Packet{packet.SYN(web), packet.SYN(web), packet.SYN(web).With(packet.Flags(0))}
	x.Inject(packet.Packets(sent...))

	type frame struct {
		Dir   packet.Dir
		Flags string
		Class nf.Class
	}
	want := []frame{
		{packet.In, "S", nf.ClassNew}, {packet.Out, "R.", nf.ClassEstablishedReply},
		{packet.In, "S", nf.ClassNew}, {packet.Out, "R.", nf.ClassEstablishedReply},
		{packet.In, "none", nf.ClassInvalid}, {packet.Out, "R.", nf.ClassInvalid},
	}
	var got []frame
	for _, f := range x.Frames() {
		got = append(got, frame{f.Dir, f.TCPFlags(), f.Class})
	}
	if diff := ctexp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A packet that a rule drops behind conntrack has its class, however close to conntrack the rule is, and whichever came first. What
// is dropped at conntrack's own priority is dropped before it, because of hooks with equal priority the younger runs first.
func TestClassesOfWhatRulesDrop(t *testing.T) {
	t.Parallel()
	for priority, want := range map[int]string{-300: "none", -200: "none", -199: "NEW", -198: "NEW", 2147483647: "NEW"} {
		for _, classes := range []bool{false, true} {
			t.Run(fmt.Sprint(priority, classes), func(t *testing.T) {
				t.Parallel()
				rule := netnsenv.NFT(fmt.Sprintf("table inet t { chain c { type filter hook prerouting priority %d; drop; }; }", priority))
				cfg := netnsenv.Config{Classes: classes, Silent: true, Rules: []netnsenv.Ruleset{rule}}
				x := ctexp.New(t, cfg)

				got := x.Classes(packet.SYNs(2, web))

				if diff := ctexp.Diff([]string{want, want}, got); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			})
		}
	}
}

// Without being asked, no frame has a class, and without conntrack there is none to ask for.
func TestClassesAreAskedFor(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{})
	x.Inject(packet.SYNs(1, web))
	for _, f := range x.Frames() {
		if f.Class != nf.ClassUnknown {
			t.Errorf("%v has class %v", f, f.Class)
		}
	}
	if _, err := ctexp.Open(t.Context(), netnsenv.Config{Classes: true, Conntrack: netnsenv.Off}); err == nil {
		t.Error("Classes without conntrack is no error")
	}
}

// The timeout that each packet gives to its entry, to the second (net/netfilter/nf_conntrack_proto_tcp.c, tcp_timeouts; _udp.c
// and _icmp.c).
func TestTimeoutsThatPacketsGive(t *testing.T) {
	t.Parallel()
	answer := question.Reverse()
	tcp := func(f packet.Flow, flags packet.TCPFlags, seq, ack uint32, data string) packet.Packet {
		return f.TCP(packet.TCP{Flags: flags, Seq: seq, Ack: ack, Payload: []byte(data)})
	}
	echo := packet.Echo(question.Src.Addr(), question.Dst.Addr(), 7, 1, nil)
	for name, c := range map[string]struct {
		packets []packet.Packet
		want    []int // seconds
	}{
		"TCP": {
			[]packet.Packet{
				packet.SYN(question), packet.SYN(question), packet.SYNACK(answer), packet.ACK(question),
				tcp(question, packet.FlagACK|packet.FlagPSH, 2, 2, "data"), tcp(answer, packet.FlagACK, 2, 6, ""),
				tcp(question, packet.FlagFIN|packet.FlagACK, 6, 2, ""), tcp(answer, packet.FlagACK, 2, 7, ""),
				tcp(answer, packet.FlagFIN|packet.FlagACK, 2, 7, ""), tcp(question, packet.FlagACK, 7, 3, ""),
			},
			[]int{120, 120, 60, 432000, 300, 432000, 120, 60, 30, 120},
		},
		"picked up": {[]packet.Packet{packet.ACK(question), packet.ACK(answer)}, []int{300, 300}},
		"UDP":       {[]packet.Packet{question.UDP(nil), question.UDP(nil), answer.UDP(nil), question.UDP(nil)}, []int{30, 30, 30, 30}},
		"echo":      {[]packet.Packet{echo}, []int{30}},
		"none":      {[]packet.Packet{tcp(question, packet.FlagSYN|packet.FlagFIN, 1, 0, "")}, []int{0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := ctexp.New(t, holdRouter())

			var got []int
			for _, d := range x.Timeouts(c.packets[0].Tuple(), packet.Packets(c.packets...)) {
				got = append(got, int(d.Seconds()))
			}

			if diff := ctexp.Diff(c.want, got); diff != "" {
				t.Errorf("seconds (-want +got):\n%s", diff)
			}
		})
	}
}

// What a packet costs with and without its class.
func BenchmarkClasses(b *testing.B) {
	for _, on := range []bool{false, true} {
		b.Run(fmt.Sprint(on), func(b *testing.B) {
			x := ctexp.New(b, netnsenv.Config{Silent: true, NoFrames: true, NoEvents: true, Classes: on})
			const packets = 1000
			for b.Loop() {
				x.Inject(packet.SYNs(packets, web))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*packets), "ns/packet")
		})
	}
}
