package observe

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// For any input, what is kept becomes steps that can be printed and joined, and everything else is an error.
func FuzzTrace(f *testing.F) {
	f.Add(traceMessage(traceName(traceTable, "filter"), traceName(traceChain, "input"), attr(traceKind, be32(3)...),
		attr(traceHandle, 0, 0, 0, 0, 0, 0, 0, 2), attr(traceNetwork, make([]byte, 20)...), attr(traceID, be32(9)...)))
	f.Add(append(traceMessage(traceName(traceTable, "ctexp"), traceName(traceChain, "trace_output"), attr(traceKind, be32(3)...),
		attr(traceHandle, 0, 0, 0, 0, 0, 0, 0, 2)), traceMessage(attr(traceKind, be32(1)...))...))
	f.Add([]byte{16, 0, 0, 0, 17, 10})
	f.Fuzz(func(t *testing.T, b []byte) {
		l := tracelog{limit: 20}
		_ = l.add(b, time.Unix(1, 0))
		kept, _, _ := l.snapshot()
		frames := []packet.Record{{Packet: b}, {Packet: b, Dir: packet.Out}}
		steps := makeSteps(kept, frames, func(int32) string { return "" }, func(traced) string { return "" })
		for _, s := range steps {
			_ = s.String()
		}
		of, rest := StepsOf(frames, steps)
		if n := len(of[0]) + len(of[1]) + len(rest); n != len(steps) || len(kept) > 20 {
			t.Errorf("%d messages, %d steps, of which StepsOf has %d", len(kept), len(steps), n)
		}
	})
}

func BenchmarkTracelog(b *testing.B) {
	msg := traceMessage(traceName(traceTable, "filter"), traceName(traceChain, "input"), attr(traceKind, be32(3)...),
		attr(traceHandle, 0, 0, 0, 0, 0, 0, 0, 2), attr(traceNetwork, make([]byte, 20)...), attr(traceTransport, make([]byte, 20)...),
		attr(traceID, be32(9)...))
	l := tracelog{limit: 1 << 22}
	b.ReportAllocs()
	for b.Loop() {
		if err := l.add(msg, time.Time{}); err != nil {
			b.Fatal(err)
		}
	}
}

// tcpHead is the beginning of a TCP packet that is identified by its port.
func tcpHead(port byte) (network, transport []byte) {
	network = []byte{0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 1, 1, 198, 18, 0, 2, 192, 0, 2, 1}
	return network, []byte{0, port, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0, 0, 7, 7, 0, 0}
}

// met returns the message of a rule of the user's table; the first one of a base chain has headers.
func met(id uint32, chain string, port byte) traced {
	m := traced{Family: 2, Table: "u", Chain: chain, Type: nfnl.TraceRule, Handle: 1, Verdict: nfnl.VerdictContinue, ID: id, In: 2}
	if port != 0 {
		m.Network, m.Transport = tcpHead(port)
	}
	return m
}

// begin returns the message by which a trace of netnsenv begins.
func begin(id uint32, port byte) traced {
	m := met(id, ours.TracePrefix+"prerouting", port)
	m.Table, m.Family = ours.Table, 1
	return m
}

func TestTracerSeparatesPackets(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		msgs []traced
		want []int
	}{
		{"two that have one number", []traced{begin(7, 1), met(7, "pre", 1), met(7, "in", 1), begin(7, 1), met(7, "pre", 1)}, []int{0, 0, 0, 1, 1}},
		{"an answer within", []traced{begin(7, 1), met(7, "in", 1), begin(8, 2), met(8, "out", 2), met(7, "in", 0)}, []int{0, 0, 1, 1, 0}},
		{"no second begin, a chain twice", []traced{begin(7, 1), met(7, "in", 1), met(7, "in", 1)}, []int{0, 0, 0}},
		{"the user's own", []traced{met(7, "pre", 1), met(7, "pre", 0), met(7, "in", 1), met(7, "pre", 1), met(7, "in", 1)}, []int{0, 0, 0, 1, 1}},
		{"the user's own, two numbers", []traced{met(7, "pre", 1), met(8, "pre", 1), met(7, "in", 1)}, []int{0, 1, 0}},
	} {
		var tr tracer
		var got []int
		for _, m := range c.msgs {
			got = append(got, tr.packet(m).n)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// Of identical packets the one without steps still has its own frame: the steps of the others have the right ones.
func TestStepsHaveTheTimesOfTheirFrames(t *testing.T) {
	t.Parallel()
	network, transport := tcpHead(1)
	pkt := append(append(network, transport...), "data"...)
	other := append([]byte(nil), pkt...)
	other[21] = 2
	frame := func(sec int64, dir packet.Dir, p []byte) packet.Record {
		return packet.Record{Time: time.Unix(sec, 0), Link: "tun0", Dir: dir, EtherType: header.EtherTypeIPv4, Packet: p}
	}
	frames := []packet.Record{frame(1, packet.In, pkt), frame(2, packet.In, other), frame(3, packet.In, pkt), frame(4, packet.Out, pkt)}
	kept := []traced{begin(7, 1), begin(8, 2), met(8, "pre", 2), begin(7, 1), met(7, "pre", 1), met(7, "in", 1), begin(7, 1), met(7, "pre", 1)}
	var log []tracedAt
	for _, m := range kept {
		log = append(log, tracedAt{m, time.Unix(99, 0)})
	}
	steps := makeSteps(log, frames, func(int32) string { return "tun0" }, func(m traced) string { return "of " + m.Chain })
	want := []string{
		"2 #1 ip u pre rule of pre (verdict continue)",
		"3 #2 ip u pre rule of pre (verdict continue)",
		"3 #2 ip u in rule of in (verdict continue)",
		"99 #3 ip u pre rule of pre (verdict continue)", // no frame is left for it
	}
	if diff := cmp.Diff(want, secondsOf(steps)); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	of, rest := StepsOf(frames, steps)
	if len(of[0]) != 0 || len(of[1]) != 1 || len(of[2]) != 2 || len(of[3]) != 0 || len(rest) != 1 {
		t.Errorf("beside the frames: %v, the rest: %v", of, rest)
	}
}

// A step belongs to the frame of its time, also if an earlier frame has the same packet.
func TestStepsBelongToTheFrameOfTheirTime(t *testing.T) {
	t.Parallel()
	network, transport := tcpHead(1)
	pkt := append(network, transport...)
	frame := func(sec int64) packet.Record {
		return packet.Record{Time: time.Unix(sec, 0), Link: "tun0", Dir: packet.In, Packet: pkt}
	}
	of, rest := StepsOf([]packet.Record{frame(1), frame(2), frame(3)}, []Step{{Time: time.Unix(2, 0), Link: "tun0", Dir: packet.In, Header: pkt}})
	if len(of[0])+len(of[2])+len(rest) != 0 || len(of[1]) != 1 {
		t.Errorf("beside the frames: %v, the rest: %v", of, rest)
	}
}

func TestDroppedRepliesHaveNoFrame(t *testing.T) {
	t.Parallel()
	network, transport := tcpHead(1)
	pkt := append(network, transport...)
	own := func(id uint32, verdict int32) tracedAt {
		m := met(id, "out", 1)
		m.In, m.Out, m.Verdict = 0, 2, verdict
		return tracedAt{m, time.Unix(99, 0)}
	}
	frames := []packet.Record{{Time: time.Unix(1, 0), Link: "tun0", Dir: packet.Out, Packet: pkt}}
	steps := makeSteps([]tracedAt{own(1, 0), own(2, 1)}, frames, func(int32) string { return "tun0" }, func(traced) string { return "r" })
	want := []string{"99 #0 ip u out rule r (verdict drop)", "1 #1 ip u out rule r (verdict accept)"}
	if diff := cmp.Diff(want, secondsOf(steps)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func secondsOf(steps []Step) []string {
	var s []string
	for _, step := range steps {
		s = append(s, step.Time.UTC().Format("5")+" #"+string(rune('0'+step.Packet))+" "+step.brief())
	}
	for i := range s {
		if steps[i].Time.Equal(time.Unix(99, 0)) {
			s[i] = "99" + s[i][len("39"):]
		}
	}
	return s
}

func TestPacketHead(t *testing.T) {
	t.Parallel()
	v6 := func(next byte) []byte { return append([]byte{0x60, 0, 0, 0, 0, 0, next}, make([]byte, 33)...) }
	for _, c := range []struct {
		name               string
		network, transport []byte
		want               int
	}{
		{"IPv4", append([]byte{0x45}, make([]byte, 19)...), make([]byte, 20), 40},
		{"IPv4 with more options than the kernel tells", append([]byte{0x4f}, make([]byte, 39)...), make([]byte, 20), 40},
		{"IPv6", v6(6), make([]byte, 8), 48},
		{"IPv6 with extensions", v6(0), make([]byte, 20), 40},
		{"cut", []byte{0x45}, make([]byte, 20), 1},
		{"none", nil, nil, 0},
	} {
		if got := packetHead(c.network, c.transport); len(got) != c.want {
			t.Errorf("%s: %d bytes, want %d", c.name, len(got), c.want)
		}
	}
}

func TestStepPrintsAsALine(t *testing.T) {
	t.Parallel()
	s := Step{
		Time: time.Date(2026, 1, 2, 12, 0, 0, 1999, time.UTC), Packet: 3, Link: "tun0", Dir: packet.In,
		Family: "ip", Table: "filter", Chain: "input", Kind: StepRule, Handle: 7, Rule: "tcp dport 80 drop", Verdict: "drop",
	}
	var got []string
	got = append(got, s.String())
	s.Rule = ""
	got = append(got, s.String())
	s.Kind, s.Link = StepPolicy, ""
	got = append(got, s.String())
	s.Kind, s.Verdict = StepReturn, "return"
	got = append(got, s.String())
	want := []string{
		"12:00:00.000001 #3 tun0 In  ip filter input rule tcp dport 80 drop (verdict drop)",
		"12:00:00.000001 #3 tun0 In  ip filter input rule with handle 7 (verdict drop)",
		"12:00:00.000001 #3 In  ip filter input policy drop",
		"12:00:00.000001 #3 In  ip filter input return",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
