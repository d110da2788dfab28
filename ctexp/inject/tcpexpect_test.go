package inject_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/inject"
)

// says lets the server of a cable send segments, whatever they are.
func (c cable) says(t *testing.T, segments ...inject.Segment) {
	t.Helper()
	for _, s := range segments {
		_, err := c.server.Send(t.Context(), s)
		must(t, err)
	}
}

func data(seq uint32, payload string) inject.Segment {
	return inject.Segment{Seq: &seq, Payload: []byte(payload)}
}

// Expect passes over what says nothing new, and over nothing else.
func TestExpectPassesOverWhatSaysNothingNew(t *testing.T) {
	t.Parallel()
	bare := inject.Segment{Flags: ack}
	one := data(1, "one")
	for name, c := range map[string]struct {
		before []inject.Segment // taken
		then   []inject.Segment
		want   inject.Segment
		met    bool
	}{
		"the next":                  {nil, []inject.Segment{one}, one, true},
		"behind acknowledgements":   {nil, []inject.Segment{bare, bare, one}, one, true},
		"behind a repeated one":     {[]inject.Segment{one}, []inject.Segment{one, data(4, "two")}, inject.Segment{Flags: psh | ack}, true},
		"behind a repeated SYN+ACK": {nil, []inject.Segment{{Flags: syn | ack, Seq: new(uint32)}, one}, inject.Segment{}, true},
		"with a repeated one":       {[]inject.Segment{one}, []inject.Segment{data(1, "onetwo")}, inject.Segment{Payload: []byte("two")}, true},
		"a repeated one by its Seq": {[]inject.Segment{one}, []inject.Segment{one}, one, true},
		"a repeated one by chance":  {[]inject.Segment{one}, []inject.Segment{one}, inject.Segment{Payload: []byte("one")}, false},
		"an acknowledgement":        {nil, []inject.Segment{bare, one}, inject.Segment{Payload: []byte{}}, true},
		"of the right number":       {nil, []inject.Segment{bare, {Flags: ack, Ack: new(uint32(9))}}, inject.Segment{Ack: new(uint32(9))}, true},
		"PSH or not":                {nil, []inject.Segment{{Flags: ack, Payload: []byte("x")}}, inject.Segment{Flags: psh | ack}, true},
		"behind other data":         {nil, []inject.Segment{one, data(4, "two")}, inject.Segment{Payload: []byte("two")}, false},
		"behind a reset":            {nil, []inject.Segment{{Flags: rst}, one}, one, false},
		"behind a FIN":              {nil, []inject.Segment{{Flags: fin | ack}, bare}, inject.Segment{Flags: ack}, false},
		"other flags":               {nil, []inject.Segment{{Flags: fin | ack}}, inject.Segment{Flags: fin}, false},
		"the SYN of another time":   {nil, []inject.Segment{{Flags: syn, Seq: new(^uint32(99))}, one}, one, false},
		"a wrong checksum": {nil, []inject.Segment{{Payload: []byte("one"), As: func(p inject.Packet) []inject.Packet {
			return []inject.Packet{p.With(inject.Checksum(1))}
		}}}, one, false},
		"out of order, twice": {
			[]inject.Segment{data(4, "two"), one}, []inject.Segment{data(4, "two"), data(7, "three")}, inject.Segment{Payload: []byte("three")}, true,
		},
		"behind a gap, twice": {
			[]inject.Segment{data(4, "two")}, []inject.Segment{data(4, "two"), one}, inject.Segment{Payload: []byte("one")}, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := opened(t)
			for _, s := range c.before {
				w.says(t, s)
				_, err := w.client.Expect(t.Context(), s)
				must(t, err)
			}
			w.says(t, c.then...)
			_, err := w.client.Expect(over(t), c.want)
			if (err == nil) != c.met {
				t.Errorf("got %v, want it met: %v", err, c.met)
			}
		})
	}
}

// A segment that should not be ends an expectation at once, and tells of it in relative numbers.
func TestAnUnexpectedSegmentFailsAtOnce(t *testing.T) {
	t.Parallel()
	w := opened(t)
	other := web.Nth(1).Reverse().UDP([]byte("another flow"))
	w.tun0.sends(other)
	w.says(t, inject.Segment{}, data(1, "one"), data(1, "one"), inject.Segment{Flags: rst | ack})
	_, err := w.client.Expect(t.Context(), inject.Segment{Payload: []byte("one")})
	must(t, err)
	_, err = w.client.Expect(t.Context(), inject.Segment{
		Flags: psh | ack, Seq: new(uint32(4)), Ack: new(uint32(1)), Payload: []byte("two"),
	})
	if !errors.As(err, new(*inject.UnmetError)) {
		t.Fatalf("got %v", err)
	}
	golden(t, "unexpected.golden", err.Error()+"\n")
}

// ExpectAck is met by any segment that acknowledges; one with data stays for the next expectation.
func TestExpectAckLeavesData(t *testing.T) {
	t.Parallel()
	w := opened(t)
	must(t, w.client.Write(t.Context(), []byte("12345")))
	w.says(t, inject.Segment{Ack: new(uint32(3))}, inject.Segment{Ack: new(uint32(6)), Payload: []byte("reply")})
	must(t, w.client.ExpectAck(over(t)))
	_, err := w.client.Expect(over(t), inject.Segment{Payload: []byte("reply")})
	must(t, err)

	must(t, w.client.Write(t.Context(), []byte("more")))
	w.says(t, inject.Segment{Flags: rst | ack})
	if err := w.client.ExpectAck(t.Context()); err == nil || !strings.Contains(err.Error(), "no acknowledgement of 10") {
		t.Errorf("a reset acknowledges: %v", err)
	}
}

// What timers send again is nothing; an acknowledgement is something.
func TestExpectNothingCountsWhatIsNew(t *testing.T) {
	t.Parallel()
	w := opened(t)
	w.says(t, data(1, "one"))
	_, err := w.client.Expect(t.Context(), inject.Segment{})
	w.says(t, data(1, "one"))
	must(t, err, w.client.ExpectNothing(t.Context()))
	w.says(t, inject.Segment{})
	if err := w.client.ExpectNothing(t.Context()); err == nil {
		t.Error("an acknowledgement is nothing")
	}
}

// Read puts the stream together, whatever its segments.
func TestReadIsAStream(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := opened(t)
	last := data(7, "g")
	last.Flags = fin | ack
	w.says(t, data(1, "ab"), inject.Segment{}, data(1, "ab"), data(2, "bcd"), data(5, "ef"), last)
	first, err := w.client.Read(ctx, 3)
	must(t, err)
	rest, err := w.client.Read(ctx, -1)
	must(t, err)
	if got := string(first) + "|" + string(rest); got != "abc|defg" {
		t.Errorf("got %q", got)
	}
	if got := w.client.Expected(); got != 9 {
		t.Errorf("%d is expected next", got)
	}
	if _, err := w.client.Read(ctx, 1); err == nil || !strings.Contains(err.Error(), "has closed") {
		t.Errorf("behind the end: %v", err)
	}
}

func TestReadDoesNotReadOverAGapOrAReset(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		then inject.Segment
		want string
	}{
		"gap":   {data(5, "ef"), "1 bytes, then a gap of 3"},
		"reset": {inject.Segment{Flags: rst}, "1 bytes, then a reset"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := opened(t)
			w.says(t, data(1, "a"), c.then)
			if got, err := w.client.Read(t.Context(), 2); err == nil || !strings.Contains(err.Error(), c.want) || string(got) != "a" {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
		})
	}
}

// A Read that is not met says how far it came; what the peer itself has sent is not near to what it waits for.
func TestReadSaysHowFarItCame(t *testing.T) {
	t.Parallel()
	w := opened(t)
	w.says(t, data(1, "abc"))
	w.inbox.Patience = time.Millisecond
	_, err := w.client.Read(t.Context(), 5)
	if err == nil || !strings.HasPrefix(err.Error(), "read: 3 of 5 bytes, then: no such segment") || strings.Contains(err.Error(), "nearest") {
		t.Errorf("got %v", err)
	}
}

// Write cuts data to the size that the other end has named, options included.
func TestWriteCutsToTheSegmentSize(t *testing.T) {
	t.Parallel()
	w := newCable()
	w.server.MSS, w.server.Timestamps, w.client.Timestamps = 112, true, true
	must(t, inject.Handshake(t.Context(), w.client, w.server))
	long := bytes.Repeat([]byte("x"), 250)
	must(t, w.client.Write(t.Context(), long))
	for _, n := range []int{100, 100, 50} {
		_, err := w.server.Expect(t.Context(), inject.Segment{Payload: long[:n]})
		must(t, err)
	}
}

// Whatever comes, a peer survives it.
func FuzzTCPPeer(f *testing.F) {
	flow := web.Reverse()
	for _, p := range []inject.Packet{
		inject.SYNACK(flow), inject.RST(flow), flow.TCP(inject.TCP{Flags: ack, Seq: 1, Ack: 2, Payload: []byte("x")}),
		flow.TCP(inject.TCP{Flags: fin | syn | ack, Options: synOptions}),
	} {
		f.Add([]byte(p), []byte(p))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
		defer cancel()
		<-ctx.Done()
		h := &host{name: "tun0"}
		inbox := inject.NewInbox(h)
		p := inject.NewTCP(inject.New(h), "tun0", inbox, web)
		for range 2 {
			h.sends(a, b)
			_, _ = p.Expect(ctx, inject.Segment{})
			_ = p.ExpectAck(ctx)
			_, _ = p.Read(ctx, -1)
			_ = p.ExpectNothing(t.Context())
			_, _ = p.Expect(ctx, inject.Segment{Flags: 1, Seq: new(uint32), Ack: new(uint32), Options: synOptions, Payload: []byte{}})
			_, _ = inbox.Received(t.Context())
		}
	})
}
