package peer_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/ctexp/peer"
)

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
		}, "something else came"},
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
	golden(t, "elsewhere.golden", err.Error()+"\n")
	_, err = newCable().client.Expect(over(t), peer.Segment{Flags: syn | ack, Ack: new(uint32(1))})
	golden(t, "nosegment.golden", err.Error()+"\n")
}

// Where an ICMP error came instead, there is nothing near.
func TestARefusedSegmentHasNoNearest(t *testing.T) {
	t.Parallel()
	w := newCable()
	w.tun0.answer = func(p packet.Packet) []packet.Packet { return []packet.Packet{packet.Unreachable(gate, 13, p)} }
	golden(t, "refused.golden", w.client.Connect(t.Context()).Error()+"\n")
}
