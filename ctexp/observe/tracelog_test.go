package observe

import (
	"testing"
	"time"
)

// Whatever the stream holds, what is kept becomes steps that can be printed and joined, and what is not is an error.
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
		frames := []Frame{{Packet: b}, {Packet: b, Dir: Out}}
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
