package ctexp_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/ctexp/peer"
	"github.com/ctexp/go-ctexp/internal/golden"
	"github.com/ctexp/go-ctexp/internal/redtest"
)

// connected is a scripted client that has a socket of the host at its other end.
func connected(t *testing.T, x *ctexp.Experiment) (*ctexp.TCP, net.Conn) {
	t.Helper()
	l, err := x.Env.Listen(t.Context(), "tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	c := x.TCP("tun0", web)
	c.Connect()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() }) // a socket that nobody refers to any more is closed with the garbage
	return c, s
}

// A reset beyond the window is ignored, one in the window is asked back about (RFC 5961), the exact one closes.
func TestOnlyTheExactResetCloses(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{})
	c, s := connected(t, x)
	c.Reset(peer.ResetOutOfWindow)
	c.ExpectNothing()
	c.Reset(peer.ResetInWindow)
	c.Expect(peer.Segment{Flags: ack, Ack: new(uint32(1)), Payload: []byte{}})
	c.ExpectNothing()
	c.Reset(peer.ResetExact)
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the socket has read %v", err)
	}
	c.ExpectNothing()
}

const (
	syn = packet.FlagSYN
	ack = packet.FlagACK
)

// A FIN closes one direction: the socket reads to the end, and what it sends then still arrives.
func TestFinClosesOneDirection(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{})
	c, s := connected(t, x)
	c.Fin()
	if got, err := io.ReadAll(s); err != nil || len(got) != 0 {
		t.Errorf("the socket has read %q, %v", got, err)
	}
	if _, err := io.WriteString(s, "still open"); err != nil {
		t.Fatal(err)
	}
	if got := c.Read(len("still open")); string(got) != "still open" {
		t.Errorf("behind the FIN came %q", got)
	}
}

// What was acknowledged before is acknowledged again.
func TestARetransmissionIsAcknowledgedAgain(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{})
	c, _ := connected(t, x)
	c.Write([]byte("once"))
	c.ExpectAck()
	c.Retransmit()
	c.Expect(peer.Segment{Flags: ack, Ack: new(uint32(5)), Payload: []byte{}})
}

// What the host sends again is asked for by its number: it comes when its timer has run out.
func TestTheHostRetransmits(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{})
	c, s := connected(t, x)
	if _, err := io.WriteString(s, "again"); err != nil {
		t.Fatal(err)
	}
	again := peer.Segment{Seq: new(uint32(1)), Payload: []byte("again")}
	c.Expect(again)
	c.Expect(again)
	c.Ack()
	c.ExpectNothing()
	for _, r := range c.PassedOver() { // those that have crossed the acknowledgement
		if r.Packet.String() == "" || r.Link != "tun0" {
			t.Errorf("passed over: %v", r)
		}
	}
}

// A connection that the host has closed, and remembers, makes way for a new one over the same addresses and ports.
func TestATupleIsUsedAgain(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{})
	c, s := connected(t, x)
	s.Close()
	c.Expect(peer.Segment{Flags: packet.FlagFIN | ack})
	c.Close()
	c.Reuse()
	c.Connect()
	want := []string{
		"NEW SYN_SENT", "UPDATE SYN_RECV", "UPDATE ESTABLISHED [ASSURED]", "UPDATE FIN_WAIT [ASSURED]", "UPDATE LAST_ACK [ASSURED]",
		"UPDATE TIME_WAIT [ASSURED]", "DESTROY", "NEW SYN_SENT", "UPDATE SYN_RECV", "UPDATE ESTABLISHED [ASSURED]",
	}
	if diff := ctexp.Diff(want, x.Life(web.Tuple(nf.TCP))); diff != "" {
		t.Errorf("life (-want +got):\n%s", diff)
	}
}

// What a segment goes out as is the test's to say: fragments in the wrong order, and damaged before it is right.
func TestASegmentGoesOutAsFragments(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{})
	c, s := connected(t, x)
	text := strings.Repeat("0123456789", 100)
	c.Send(peer.Segment{Payload: []byte(text), As: func(p packet.Packet) []packet.Packet {
		parts := p.With(packet.DontFragment(false), packet.ID(1)).Fragments(576)
		return []packet.Packet{p.With(packet.Checksum(1)), parts[1], parts[0]}
	}})
	c.ExpectAck()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(s, got); string(got) != text || err != nil {
		t.Errorf("the socket has read %q, %v", got, err)
	}
}

// Windows are scaled as both sides have agreed: the host sends no more than the script's scaled window allows.
func TestTheHostKeepsToAScaledWindow(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		scale *uint8
		want  int
	}{"scaled": {new(uint8(2)), 2000}, "not scaled": {nil, 500}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := ctexp.New(t, netnsenv.Config{})
			l, err := x.Env.Listen(t.Context(), "tcp", ":80")
			if err != nil {
				t.Fatal(err)
			}
			end := x.TCP("tun0", web)
			end.MSS, end.Window, end.Scale = 500, 500, c.scale
			end.Connect()
			s, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			if _, err := s.Write(make([]byte, 5000)); err != nil {
				t.Fatal(err)
			}
			for sent := 0; sent < c.want; sent += 500 {
				end.Expect(peer.Segment{Payload: make([]byte, 500)})
			}
			end.PassRetransmitted = true // nothing is acknowledged, so that the window stays as it is
			end.ExpectNothing()
		})
	}
}

// An expectation that is not met fails the test with what was wanted, what there was and every packet that came.
func TestAnUnmetExpectationFailsTheTest(t *testing.T) {
	t.Parallel()
	ctexp.New(t, natRouter()) // skips where it cannot be done
	fake := &redtest.TB{}
	log := fake.Run(func(f *redtest.TB) {
		x := ctexp.New(f, natRouter())
		client := x.TCP("tun0", packet.Flow{Src: inside, Dst: outside})
		server := x.TCP("tun1", packet.Flow{Src: outside})
		x.Handshake(client, server)
		client.Write([]byte("request"))
		server.Expect(peer.Segment{Payload: []byte("request")})
		server.Reset(peer.ResetExact)
		client.Expect(peer.Segment{Flags: ack, Seq: new(uint32(1)), Ack: new(uint32(8)), Payload: []byte("answer")})
		t.Error("it goes on")
	})
	told, _, _ := strings.Cut(log, "what happened in")
	if !fake.Failed() {
		t.Error("it has not failed")
	}
	golden.Check(t, "unmet.golden", told)
}

// A peer behind a link that does not exist fails the test.
func TestAPeerNeedsALink(t *testing.T) {
	t.Parallel()
	ctexp.New(t, netnsenv.Config{})
	for name, f := range map[string]func(x *ctexp.Experiment){
		"tcp":  func(x *ctexp.Experiment) { x.TCP("tun7", web) },
		"udp":  func(x *ctexp.Experiment) { x.UDP("tun7", web) },
		"echo": func(x *ctexp.Experiment) { x.Echo("tun7", web.Src.Addr(), netip.Addr{}) },
	} {
		fake := &redtest.TB{}
		log := fake.Run(func(tb *redtest.TB) { f(ctexp.New(tb, netnsenv.Config{})) })
		if !fake.Failed() || !strings.Contains(log, `no link "tun7"`) {
			t.Errorf("%s: failed %v: %s", name, fake.Failed(), log)
		}
	}
}
