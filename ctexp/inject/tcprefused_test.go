package inject_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/inject"
)

var gate = netip.MustParseAddr("192.0.2.254") // a router on the way

// An ICMP error about what a peer has sent ends what it waits for; one that says something else does not.
func TestAnICMPErrorEndsAConnection(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		error func(syn inject.Packet) inject.Packet
		ends  bool
	}{
		"unreachable":           {func(p inject.Packet) inject.Packet { return inject.Unreachable(gate, 13, p) }, true},
		"8 bytes of it":         {func(p inject.Packet) inject.Packet { return inject.Unreachable(gate, 13, p[:28]) }, true},
		"time exceeded":         {func(p inject.Packet) inject.Packet { return inject.TimeExceeded(gate, p) }, true},
		"parameter problem":     {func(p inject.Packet) inject.Packet { return inject.ParameterProblem(gate, 1, p) }, true},
		"too big":               {func(p inject.Packet) inject.Packet { return inject.PacketTooBig(gate, 576, p) }, false},
		"redirect":              {func(p inject.Packet) inject.Packet { return inject.Redirect(gate, gate.Prev(), p) }, false},
		"about another flow":    {func(p inject.Packet) inject.Packet { return inject.Unreachable(gate, 3, p.With(inject.SrcPort(1))) }, false},
		"about an earlier time": {func(p inject.Packet) inject.Packet { return inject.Unreachable(gate, 3, p.With(inject.Seq(7))) }, false},
		"about UDP":             {func(inject.Packet) inject.Packet { return inject.Unreachable(gate, 3, web.UDP(nil)) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newCable()
			w.tun0.answer = func(p inject.Packet) []inject.Packet { return []inject.Packet{c.error(p)} }
			ctx := t.Context()
			if !c.ends {
				ctx = over(t)
			}
			_, err := w.client.Send(t.Context(), inject.Segment{Flags: syn})
			must(t, err)
			_, err = w.client.Expect(ctx, inject.Segment{Flags: syn | ack})
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
	w.tun0.sends(inject.TimeExceeded(gate, sent))
	w.says(t, inject.Segment{Ack: new(uint32(2))})
	_, err := w.client.Expect(t.Context(), inject.Segment{Ack: new(uint32(2))})
	must(t, err, w.client.Write(t.Context(), []byte("y")))
	if err := w.client.ExpectAck(over(t)); err == nil || strings.Contains(err.Error(), "an ICMP error") {
		t.Errorf("the old error: %v", err)
	}
	_, err = w.inbox.Expect(t.Context(), inject.Want{ICMPType: new(uint8(11))})
	must(t, err)
}

// A datagram and an echo that will not arrive are not waited for, unless it was another one.
func TestAnICMPErrorEndsADatagram(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for name, flow := range map[string]inject.Flow{"ipv4": web, "ipv6": web6} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from := flow.Dst.Addr()
			tun0, _, inbox := crossed()
			tun0.answer = func(p inject.Packet) []inject.Packet {
				return []inject.Packet{inject.Unreachable(from, 0, p.With(inject.TTL(63)))}
			}
			client := inject.NewUDP(inject.New(tun0), "tun0", inbox, flow)
			asks := inject.NewEcho(inject.New(tun0), "tun0", inbox, flow.Src.Addr(), from)
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

// A handshake says which of its steps has failed, and ends when one of the two cannot go on.
func TestAHandshakeSaysWhereItFails(t *testing.T) {
	t.Parallel()
	reject := func(p inject.Packet) []inject.Packet { return []inject.Packet{inject.Unreachable(gate, 13, p)} }
	for name, c := range map[string]struct {
		set  func(w cable)
		want string
	}{
		"rejected": {func(w cable) { w.tun0.answer = reject }, "an ICMP error came instead: tun0: IP 192.0.2.254"},
		"reset": {func(w cable) {
			w.tun0.answer = func(inject.Packet) []inject.Packet {
				return []inject.Packet{web.Reverse().TCP(inject.TCP{Flags: rst | ack, Ack: 1000001})}
			}
		}, "something else came"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newCable()
			c.set(w)
			err := inject.Handshake(t.Context(), w.client, w.server)
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
	w.tun0.answer = func(p inject.Packet) []inject.Packet {
		w.tun1.sends(p.With(inject.Dst(other), inject.DstPort(8080)))
		return nil
	}
	_, err := w.client.Send(t.Context(), inject.Segment{Flags: syn})
	must(t, err)
	_, err = w.server.Expect(over(t), inject.Segment{Flags: syn, Seq: new(uint32(0))})
	golden(t, "elsewhere.golden", err.Error()+"\n")
	_, err = newCable().client.Expect(over(t), inject.Segment{Flags: syn | ack, Ack: new(uint32(1))})
	golden(t, "nosegment.golden", err.Error()+"\n")
}

// Where an ICMP error came instead, there is nothing near.
func TestARefusedSegmentHasNoNearest(t *testing.T) {
	t.Parallel()
	w := newCable()
	w.tun0.answer = func(p inject.Packet) []inject.Packet { return []inject.Packet{inject.Unreachable(gate, 13, p)} }
	golden(t, "refused.golden", w.client.Connect(t.Context()).Error()+"\n")
}
