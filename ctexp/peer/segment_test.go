package peer_test

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/ctexp/peer"
	"github.com/ctexp/go-ctexp/internal/golden"
)

// says lets the server of a cable send segments, whatever they are.
func (c cable) says(t *testing.T, segments ...peer.Segment) {
	t.Helper()
	for _, s := range segments {
		_, err := c.server.Send(t.Context(), s)
		must(t, err)
	}
}

func data(seq uint32, payload string) peer.Segment {
	return peer.Segment{Seq: &seq, Payload: []byte(payload)}
}

// Expect passes over what says nothing new, and over nothing else.
func TestExpectPassesOverWhatSaysNothingNew(t *testing.T) {
	t.Parallel()
	bare := peer.Segment{Flags: ack}
	one := data(1, "one")
	for name, c := range map[string]struct {
		before []peer.Segment // taken
		then   []peer.Segment
		want   peer.Segment
		met    bool
	}{
		"the next":                  {nil, []peer.Segment{one}, one, true},
		"behind acknowledgements":   {nil, []peer.Segment{bare, bare, one}, one, true},
		"behind a repeated one":     {[]peer.Segment{one}, []peer.Segment{one, data(4, "two")}, peer.Segment{Flags: psh | ack}, true},
		"behind a repeated SYN+ACK": {nil, []peer.Segment{{Flags: syn | ack, Seq: new(uint32)}, one}, peer.Segment{}, true},
		"with a repeated one":       {[]peer.Segment{one}, []peer.Segment{data(1, "onetwo")}, peer.Segment{Payload: []byte("two")}, true},
		"a repeated one by its Seq": {[]peer.Segment{one}, []peer.Segment{one}, one, true},
		"a repeated one by chance":  {[]peer.Segment{one}, []peer.Segment{one}, peer.Segment{Payload: []byte("one")}, false},
		"an acknowledgement":        {nil, []peer.Segment{bare, one}, peer.Segment{Payload: []byte{}}, true},
		"of the right number":       {nil, []peer.Segment{bare, {Flags: ack, Ack: new(uint32(9))}}, peer.Segment{Ack: new(uint32(9))}, true},
		"PSH or not":                {nil, []peer.Segment{{Flags: ack, Payload: []byte("x")}}, peer.Segment{Flags: psh | ack}, true},
		"behind other data":         {nil, []peer.Segment{one, data(4, "two")}, peer.Segment{Payload: []byte("two")}, false},
		"behind a reset":            {nil, []peer.Segment{{Flags: rst}, one}, one, false},
		"behind a FIN":              {nil, []peer.Segment{{Flags: fin | ack}, bare}, peer.Segment{Flags: ack}, false},
		"other flags":               {nil, []peer.Segment{{Flags: fin | ack}}, peer.Segment{Flags: fin}, false},
		"the SYN of another time":   {nil, []peer.Segment{{Flags: syn, Seq: new(^uint32(99))}, one}, one, false},
		"a wrong checksum": {nil, []peer.Segment{{Payload: []byte("one"), As: func(p packet.Packet) []packet.Packet {
			return []packet.Packet{p.With(packet.Checksum(1))}
		}}}, one, false},
		"out of order, twice": {
			[]peer.Segment{data(4, "two"), one}, []peer.Segment{data(4, "two"), data(7, "three")}, peer.Segment{Payload: []byte("three")}, true,
		},
		"behind a gap, twice": {
			[]peer.Segment{data(4, "two")}, []peer.Segment{data(4, "two"), one}, peer.Segment{Payload: []byte("one")}, true,
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
	w.says(t, peer.Segment{}, data(1, "one"), data(1, "one"), peer.Segment{Flags: rst | ack})
	_, err := w.client.Expect(t.Context(), peer.Segment{Payload: []byte("one")})
	must(t, err)
	_, err = w.client.Expect(t.Context(), peer.Segment{
		Flags: psh | ack, Seq: new(uint32(4)), Ack: new(uint32(1)), Payload: []byte("two"),
	})
	if !errors.As(err, new(*peer.ExpectationError)) {
		t.Fatalf("got %v", err)
	}
	golden.Check(t, "unexpected.golden", err.Error()+"\n")
}

// ExpectAck is met by any segment that acknowledges; one with data stays for the next expectation.
func TestExpectAckLeavesData(t *testing.T) {
	t.Parallel()
	w := opened(t)
	must(t, w.client.Write(t.Context(), []byte("12345")))
	w.says(t, peer.Segment{Ack: new(uint32(3))}, peer.Segment{Ack: new(uint32(6)), Payload: []byte("reply")})
	must(t, w.client.ExpectAck(over(t)))
	_, err := w.client.Expect(over(t), peer.Segment{Payload: []byte("reply")})
	must(t, err)

	must(t, w.client.Write(t.Context(), []byte("more")))
	w.says(t, peer.Segment{Flags: rst | ack})
	if err := w.client.ExpectAck(t.Context()); err == nil || !strings.Contains(err.Error(), "no acknowledgement of 10") {
		t.Errorf("a reset acknowledges: %v", err)
	}
}

// What was acknowledged and comes again is nothing, but it is told; what was not acknowledged is something, like an
// acknowledgement.
func TestExpectNothingCountsWhatIsNew(t *testing.T) {
	t.Parallel()
	w := opened(t)
	w.says(t, data(1, "one"))
	_, err := w.client.Expect(t.Context(), peer.Segment{})
	w.says(t, data(1, "one"))
	must(t, err)
	if err := w.client.ExpectNothing(t.Context()); err == nil {
		t.Error("the retransmission of what was not acknowledged is nothing")
	}
	must(t, w.client.Ack(t.Context()), w.client.ExpectNothing(t.Context()))
	if over := w.client.PassedOver(); len(over) != 1 || over[0].Link != "tun0" || !strings.Contains(over[0].Packet.String(), "length 3") {
		t.Errorf("passed over: %v", over)
	}
	must(t, w.client.ExpectNothing(t.Context()))
	if n := len(w.client.PassedOver()); n != 1 {
		t.Errorf("counted again: %d", n)
	}
	w.says(t, peer.Segment{})
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
	w.says(t, data(1, "ab"), peer.Segment{}, data(1, "ab"), data(2, "bcd"), data(5, "ef"), last)
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
		then peer.Segment
		want string
	}{
		"gap":   {data(5, "ef"), "1 bytes, then a gap of 3"},
		"reset": {peer.Segment{Flags: rst}, "1 bytes, then a reset"},
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
	must(t, peer.Handshake(t.Context(), w.client, w.server))
	long := bytes.Repeat([]byte("x"), 250)
	must(t, w.client.Write(t.Context(), long))
	for _, n := range []int{100, 100, 50} {
		_, err := w.server.Expect(t.Context(), peer.Segment{Payload: long[:n]})
		must(t, err)
	}
}

// Whatever comes, a peer survives it.
func FuzzTCPPeer(f *testing.F) {
	flow := web.Reverse()
	for _, p := range []packet.Packet{
		packet.SYNACK(flow), packet.RST(flow), flow.TCP(packet.TCP{Flags: ack, Seq: 1, Ack: 2, Payload: []byte("x")}),
		flow.TCP(packet.TCP{Flags: fin | syn | ack, Options: synOptions}),
	} {
		f.Add([]byte(p), []byte(p))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
		defer cancel()
		<-ctx.Done()
		h := &host{name: "tun0"}
		inbox := peer.NewInbox(h)
		p := peer.NewTCP(inject.New(h), "tun0", inbox, web)
		for range 2 {
			h.sends(a, b)
			_, _ = p.Expect(ctx, peer.Segment{})
			_ = p.ExpectAck(ctx)
			_, _ = p.Read(ctx, -1)
			_ = p.ExpectNothing(t.Context())
			_, _ = p.Expect(ctx, peer.Segment{Flags: 1, Seq: new(uint32), Ack: new(uint32), Options: synOptions, Payload: []byte{}})
			_, _ = inbox.Received(t.Context())
		}
	})
}

// Two peers in one goroutine close from whatever they have begun.
func TestTeardownClosesTwoPeers(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(t *testing.T, first, second *peer.TCP){
		"nothing":    func(*testing.T, *peer.TCP, *peer.TCP) {},
		"the first":  func(t *testing.T, first, _ *peer.TCP) { must(t, first.Fin(t.Context())) },
		"the second": func(t *testing.T, _, second *peer.TCP) { must(t, second.Fin(t.Context())) },
		"both": func(t *testing.T, first, second *peer.TCP) {
			must(t, first.Fin(t.Context()), second.Fin(t.Context()))
		},
		"half, and was taken": func(t *testing.T, first, second *peer.TCP) {
			must(t, second.Fin(t.Context()))
			_, err := first.Expect(t.Context(), peer.Segment{Flags: fin | ack})
			must(t, err, first.Ack(t.Context()), second.ExpectAck(t.Context()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := opened(t)
			before(t, w.client, w.server)
			must(t, peer.Teardown(t.Context(), w.client, w.server), w.inbox.ExpectNothing(t.Context()))
			got := [4]uint32{w.client.Next(), w.client.Expected(), w.server.Next(), w.server.Expected()}
			if want := [4]uint32{2, 2, 2, 2}; got != want {
				t.Errorf("the ends are at %v, want %v", got, want)
			}
		})
	}
}

// Data that nobody has read is not closed over.
func TestTeardownSaysWhereItFails(t *testing.T) {
	t.Parallel()
	w := opened(t)
	must(t, w.client.Write(t.Context(), []byte("unread")))
	err := peer.Teardown(t.Context(), w.client, w.server)
	if err == nil || !strings.HasPrefix(err.Error(), "step 2 of 5, the second expects [F.]: ") {
		t.Errorf("got %v", err)
	}
}

func TestTeardownSaysWhichEndCannotSend(t *testing.T) {
	t.Parallel()
	w := opened(t)
	h := broken{w.tun0, 0}
	first := peer.NewTCP(inject.New(h), "tun0", w.inbox, web)

	err := peer.Teardown(t.Context(), first, w.server)

	if !errors.Is(err, errors.ErrUnsupported) || !strings.HasPrefix(err.Error(), "step 1 of 5, the first sends [F.]: ") {
		t.Errorf("got %v", err)
	}
}

// A peer that has had a connection needs Reuse before it has another.
func TestAConnectionIsOpenedOnce(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := opened(t)
	half := newCable()
	_, err := half.client.Send(ctx, peer.Segment{Flags: syn})
	must(t, err)
	_, err = half.server.Expect(ctx, peer.Segment{Flags: syn})
	must(t, err)
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"Connect":           {w.client.Connect(ctx), w.client.Flow().String() + " is already connected; call Reuse first"},
		"Accept":            {w.server.Accept(ctx), "is already connected; call Reuse first"},
		"SimultaneousOpen":  {w.client.SimultaneousOpen(ctx), "is already connected; call Reuse first"},
		"Handshake":         {peer.Handshake(ctx, w.client, newCable().server), "is already connected; call Reuse first"},
		"of the server":     {peer.Handshake(ctx, newCable().client, w.server), "is already connected; call Reuse first"},
		"its SYN was sent":  {half.client.Connect(ctx), "has already sent a SYN; call Reuse first"},
		"its SYN was taken": {half.server.Accept(ctx), "has already received a SYN; call Reuse first"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", name, c.err, c.want)
		}
	}
}

func TestPairsAndResetsRefuseWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	w := newCable()
	for name, f := range map[string]func(){
		"handshake": func() { peer.Handshake(t.Context(), w.client, nil) },
		"teardown":  func() { peer.Teardown(t.Context(), nil, w.server) },
		"reset":     func() { w.client.Reset(t.Context(), 9) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if r, ok := recover().(string); !ok || !strings.HasPrefix(r, "peer: ") {
					t.Errorf("got %v", r)
				}
			}()
			f()
		})
	}
	kinds := []string{peer.ResetExact.String(), peer.ResetInWindow.String(), peer.ResetOutOfWindow.String(), peer.ResetKind(9).String()}
	if got := strings.Join(kinds, ", "); got != "exact, in window, out of window, ResetKind(9)" {
		t.Errorf("got %s", got)
	}
}

var gate = netip.MustParseAddr("192.0.2.254") // a router on the way

// An ICMP error about what a peer has sent ends what it waits for; one that says something else does not.
func TestAnICMPErrorEndsAConnection(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		error func(syn packet.Packet) packet.Packet
		ends  bool
	}{
		"unreachable":           {func(p packet.Packet) packet.Packet { return packet.Unreachable(gate, 13, p) }, true},
		"8 bytes of it":         {func(p packet.Packet) packet.Packet { return packet.Unreachable(gate, 13, p[:28]) }, true},
		"time exceeded":         {func(p packet.Packet) packet.Packet { return packet.TimeExceeded(gate, p) }, true},
		"parameter problem":     {func(p packet.Packet) packet.Packet { return packet.ParameterProblem(gate, 1, p) }, true},
		"too big":               {func(p packet.Packet) packet.Packet { return packet.PacketTooBig(gate, 576, p) }, false},
		"redirect":              {func(p packet.Packet) packet.Packet { return packet.Redirect(gate, gate.Prev(), p) }, false},
		"about another flow":    {func(p packet.Packet) packet.Packet { return packet.Unreachable(gate, 3, p.With(packet.SrcPort(1))) }, false},
		"about an earlier time": {func(p packet.Packet) packet.Packet { return packet.Unreachable(gate, 3, p.With(packet.Seq(7))) }, false},
		"about UDP":             {func(packet.Packet) packet.Packet { return packet.Unreachable(gate, 3, web.UDP(nil)) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newCable()
			w.tun0.answer = func(p packet.Packet) []packet.Packet { return []packet.Packet{c.error(p)} }
			ctx := t.Context()
			if !c.ends {
				ctx = over(t)
			}
			_, err := w.client.Send(t.Context(), peer.Segment{Flags: syn})
			must(t, err)
			_, err = w.client.Expect(ctx, peer.Segment{Flags: syn | ack})
			if err == nil || strings.Contains(err.Error(), "an ICMP error came instead: tun0: IP 192.0.2.254") != c.ends {
				t.Errorf("it ends: want %v, got %v", c.ends, err)
			}
		})
	}
}

// What has come all the same is taken, and an error about what was acknowledged says nothing any more.
func TestAnICMPErrorIsNoneWhereTheAnswerIsThere(t *testing.T) {
	t.Parallel()
	w := opened(t)
	must(t, w.client.Write(t.Context(), []byte("x")))
	sent := w.tun0.written[len(w.tun0.written)-1]
	w.tun0.sends(packet.TimeExceeded(gate, sent))
	w.says(t, peer.Segment{Ack: new(uint32(2))})
	_, err := w.client.Expect(t.Context(), peer.Segment{Ack: new(uint32(2))})
	must(t, err, w.client.Write(t.Context(), []byte("y")))
	if err := w.client.ExpectAck(over(t)); err == nil || strings.Contains(err.Error(), "an ICMP error") {
		t.Errorf("the old error: %v", err)
	}
	_, err = w.inbox.Expect(t.Context(), packet.Match{ICMPType: new(uint8(11))})
	must(t, err)
}

// A datagram and an echo that will not arrive are not waited for, unless it was another one.
func TestAnICMPErrorEndsADatagram(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for name, flow := range map[string]packet.Flow{"ipv4": web, "ipv6": web6} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from := flow.Dst.Addr()
			tun0, _, inbox := crossed()
			tun0.answer = func(p packet.Packet) []packet.Packet {
				return []packet.Packet{packet.Unreachable(from, 0, p.With(packet.TTL(63)))}
			}
			client := peer.NewUDP(inject.New(tun0), "tun0", inbox, flow)
			asks := peer.NewEcho(inject.New(tun0), "tun0", inbox, flow.Src.Addr(), from)
			_, one := client.Send(ctx, []byte("one"))
			_, ping := asks.Ping(ctx, nil)
			must(t, one, ping)
			_, datagram := client.Expect(ctx, nil)
			_, echo := asks.ExpectReply(ctx, nil)
			tun0.answer = nil
			_, two := client.Send(ctx, []byte("two"))
			_, again := asks.Ping(ctx, nil)
			must(t, two, again)
			_, otherDatagram := client.Expect(over(t), nil)
			_, otherEcho := asks.ExpectReply(over(t), nil)
			for what, c := range map[string]struct {
				err  error
				ends bool
			}{
				"a datagram": {datagram, true}, "an echo": {echo, true}, "another datagram": {otherDatagram, false}, "another echo": {otherEcho, false},
			} {
				if c.err == nil || strings.Contains(c.err.Error(), "an ICMP error came instead") != c.ends {
					t.Errorf("%s: it ends: want %v, got %v", what, c.ends, c.err)
				}
			}
		})
	}
}

// An error ends what waits for an answer if the packet cannot arrive, not if it must only be smaller or go elsewhere.
func TestWhichICMPErrorsEndADatagram(t *testing.T) {
	t.Parallel()
	for family, flow := range map[string]packet.Flow{"ipv4": web, "ipv6": web6} {
		from := flow.Dst.Addr()
		for name, c := range map[string]struct {
			about func(packet.Packet) packet.Packet
			ends  bool
		}{
			"unreachable":       {func(p packet.Packet) packet.Packet { return packet.Unreachable(from, 0, p) }, true},
			"time exceeded":     {func(p packet.Packet) packet.Packet { return packet.TimeExceeded(from, p) }, true},
			"parameter problem": {func(p packet.Packet) packet.Packet { return packet.ParameterProblem(from, 0, p) }, true},
			"too big":           {func(p packet.Packet) packet.Packet { return packet.PacketTooBig(from, 1280, p) }, false},
			"redirect":          {func(p packet.Packet) packet.Packet { return packet.Redirect(from, from.Prev(), p) }, false},
		} {
			tun0, _, inbox := crossed()
			tun0.answer = func(p packet.Packet) []packet.Packet { return []packet.Packet{c.about(p)} }
			client := peer.NewUDP(inject.New(tun0), "tun0", inbox, flow)
			_, err := client.Send(t.Context(), []byte("question"))
			must(t, err)
			ctx := t.Context()
			if !c.ends {
				ctx = over(t)
			}
			if _, err := client.Expect(ctx, nil); err == nil || strings.Contains(err.Error(), "an ICMP error came instead") != c.ends {
				t.Errorf("%s, %s: it ends: want %v, got %v", name, family, c.ends, err)
			}
		}
	}
}

// A handshake says which of its steps has failed, and ends when one of the two cannot go on.
func TestAHandshakeSaysWhereItFails(t *testing.T) {
	t.Parallel()
	reject := func(p packet.Packet) []packet.Packet { return []packet.Packet{packet.Unreachable(gate, 13, p)} }
	for name, c := range map[string]struct {
		set  func(w cable)
		want string
	}{
		"rejected": {func(w cable) { w.tun0.answer = reject }, "an ICMP error came instead: tun0: IP 192.0.2.254"},
		"reset": {func(w cable) {
			w.tun0.answer = func(packet.Packet) []packet.Packet {
				return []packet.Packet{web.Reverse().TCP(packet.TCP{Flags: rst | ack, Ack: 1000001})}
			}
		}, "another packet came"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newCable()
			c.set(w)
			err := peer.Handshake(t.Context(), w.client, w.server)
			if err == nil || !strings.HasPrefix(err.Error(), "step 2 of 6, the server expects [S]: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// What went elsewhere is compared with what was wanted where.
func TestASegmentToSomebodyElseIsTheNearest(t *testing.T) {
	t.Parallel()
	w := newCable()
	other := netip.MustParseAddr("192.0.2.8")
	w.tun0.answer = func(p packet.Packet) []packet.Packet {
		w.tun1.sends(p.With(packet.Dst(other), packet.DstPort(8080)))
		return nil
	}
	_, err := w.client.Send(t.Context(), peer.Segment{Flags: syn})
	must(t, err)
	_, err = w.server.Expect(over(t), peer.Segment{Flags: syn, Seq: new(uint32(0))})
	golden.Check(t, "elsewhere.golden", err.Error()+"\n")
	_, err = newCable().client.Expect(over(t), peer.Segment{Flags: syn | ack, Ack: new(uint32(1))})
	golden.Check(t, "nosegment.golden", err.Error()+"\n")
}

// Where an ICMP error came instead, there is nothing near.
func TestARefusedSegmentHasNoNearest(t *testing.T) {
	t.Parallel()
	w := newCable()
	w.tun0.answer = func(p packet.Packet) []packet.Packet { return []packet.Packet{packet.Unreachable(gate, 13, p)} }
	golden.Check(t, "refused.golden", w.client.Connect(t.Context()).Error()+"\n")
}
