package observe

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func be32(n byte) []byte { return []byte{0, 0, 0, n} }

// traceMessage is an NFT_MSG_TRACE message.
func traceMessage(attrs ...[]byte) []byte { return message(msgNFTTrace, attrs...) }

func traceName(typ uint16, s string) []byte { return attr(typ, append([]byte(s), 0)...) }

func TestDecodeTraced(t *testing.T) {
	t.Parallel()
	msg := traceMessage(
		traceName(nftaTraceTable, "filter"), traceName(nftaTraceChain, "input"),
		attr(nftaTraceHandle, 0, 0, 0, 0, 0, 0, 1, 2), attr(nftaTraceType, be32(3)...),
		attr(nftaTraceVerdict|nested, append(attr(nftaVerdictCode, 255, 255, 255, 253), traceName(nftaVerdictChain, "web")...)...),
		attr(nftaTraceID, be32(9)...), attr(nftaTraceNetwork, 0x45, 1), attr(nftaTraceTransport, 2),
		attr(nftaTraceIn, be32(4)...), attr(nftaTraceOut, be32(5)...), attr(nftaTracePolicy, be32(1)...),
		attr(nftaTraceCTStatus, be32(8)...), attr(nftaTraceCTState, be32(2)...), attr(99, 1),
	)
	msg[nlmsgHeader] = 2 // the family
	got, err := decodeTraced(msg[nlmsgHeader:], nlmsgHeader)
	want := traced{
		family: 2, table: "filter", chain: "input", handle: 258, typ: traceRule, verdict: -3, to: "web", policy: 1, id: 9,
		network: []byte{0x45, 1}, transport: []byte{2}, in: 4, out: 5, state: nf.StateEstablished, status: nf.Confirmed,
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(traced{})); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestDecodeTracedSaysWhereItIsGarbage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body []byte
		want string
	}{
		"short":   {[]byte{2}, "trace message at offset 16: 1 bytes are shorter"},
		"header":  {[]byte{2, 0, 0, 0, 4}, "offset 20: 1 bytes are shorter"},
		"verdict": {traceMessage(attr(nftaTraceVerdict, 3, 0, 1, 0))[nlmsgHeader:], "offset 24: length 3, 4 bytes are there"},
	} {
		if _, err := decodeTraced(c.body, nlmsgHeader); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestVerdictsAreNamed(t *testing.T) {
	t.Parallel()
	for code, want := range map[int32]string{
		-1: "continue", -2: "break", -3: "jump web", -4: "goto web", -5: "return",
		0: "drop", 1: "accept", 2: "stolen", 3: "queue", 4: "repeat", 77: "verdict(77)",
		7<<16 | 3: "queue", 1 << 16: "drop", -9: "verdict(-9)",
	} {
		if got := verdictName(code, "web"); got != want {
			t.Errorf("%d: got %q, want %q", code, got, want)
		}
	}
}

// Whatever the stream holds, what is kept becomes steps that can be printed and joined, and what is not is an error.
func FuzzTrace(f *testing.F) {
	f.Add(traceMessage(traceName(nftaTraceTable, "filter"), traceName(nftaTraceChain, "input"), attr(nftaTraceType, be32(3)...),
		attr(nftaTraceHandle, 0, 0, 0, 0, 0, 0, 0, 2), attr(nftaTraceNetwork, make([]byte, 20)...), attr(nftaTraceID, be32(9)...)))
	f.Add(append(traceMessage(traceName(nftaTraceTable, "ctexp"), traceName(nftaTraceChain, "trace_output"), attr(nftaTraceType, be32(3)...),
		attr(nftaTraceHandle, 0, 0, 0, 0, 0, 0, 0, 2)), traceMessage(attr(nftaTraceType, be32(1)...))...))
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
	msg := traceMessage(traceName(nftaTraceTable, "filter"), traceName(nftaTraceChain, "input"), attr(nftaTraceType, be32(3)...),
		attr(nftaTraceHandle, 0, 0, 0, 0, 0, 0, 0, 2), attr(nftaTraceNetwork, make([]byte, 20)...), attr(nftaTraceTransport, make([]byte, 20)...),
		attr(nftaTraceID, be32(9)...))
	l := tracelog{limit: 1 << 22}
	b.ReportAllocs()
	for b.Loop() {
		if err := l.add(msg, time.Time{}); err != nil {
			b.Fatal(err)
		}
	}
}
