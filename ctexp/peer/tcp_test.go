package peer_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/ctexp/peer"
	"github.com/ctexp/go-ctexp/internal/golden"
)

const (
	syn = packet.FlagSYN
	ack = packet.FlagACK
	fin = packet.FlagFIN
	rst = packet.FlagRST
	psh = packet.FlagPSH
)

var synOptions = []packet.TCPOption{packet.MSS(1460), packet.SACKPermitted(), packet.Timestamps(1, 0), packet.WindowScale(200)}

// cable is two links that are one: what is written to either is read from the other.
type cable struct {
	client, server *peer.TCP
	tun0, tun1     *host
	inbox          *peer.Inbox
}

func newCable() cable {
	w := cable{tun0: &host{name: "tun0"}, tun1: &host{name: "tun1"}}
	w.tun0.answer = func(p packet.Packet) []packet.Packet { w.tun1.sends(p); return nil }
	w.tun1.answer = func(p packet.Packet) []packet.Packet { w.tun0.sends(p); return nil }
	w.inbox = peer.NewInbox(w.tun0, w.tun1)
	w.client = peer.NewTCP(inject.New(w.tun0), "tun0", w.inbox, web)
	w.server = peer.NewTCP(inject.New(w.tun1), "tun1", w.inbox, packet.Flow{Src: web.Dst})
	return w
}

// opened is a cable with a connection over it.
func opened(t *testing.T) cable {
	t.Helper()
	w := newCable()
	must(t, peer.Handshake(t.Context(), w.client, w.server))
	return w
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// A connection from its beginning to its end, with the steps that both have; a server learns who comes.
func TestTwoPeersOpenTalkAndClose(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := opened(t)
	if got := w.server.Flow(); got != web.Reverse() {
		t.Errorf("the server speaks with %v", got)
	}
	must(t, w.client.Write(ctx, []byte("ping")))
	got, err := w.server.Read(ctx, 4)
	must(t, err, w.client.ExpectAck(ctx), w.server.Write(ctx, []byte("pong")))
	if string(got) != "ping" {
		t.Errorf("the server has read %q", got)
	}
	_, err = w.client.Expect(ctx, peer.Segment{Flags: ack, Seq: new(uint32(1)), Ack: new(uint32(5)), Payload: []byte("pong")})
	must(t, err, w.client.Fin(ctx))
	_, err = w.server.Expect(ctx, peer.Segment{Flags: fin | ack, Seq: new(uint32(5)), Ack: new(uint32(5))})
	must(t, err, w.server.Fin(ctx))
	_, err = w.client.Expect(ctx, peer.Segment{Flags: fin | ack, Ack: new(uint32(6))})
	must(t, err, w.client.Ack(ctx), w.server.ExpectAck(ctx), w.client.ExpectNothing(ctx), w.inbox.ExpectNothing(ctx))
	if got, want := [2]uint32{w.client.Next(), w.client.Expected()}, [2]uint32{6, 6}; got != want {
		t.Errorf("the client ends at %v, want %v", got, want)
	}
}

// What is negotiated is what both have offered.
func TestPeersNegotiate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		server  func(p *peer.TCP)
		answer  string
		data    string
		learned peer.Learnt
	}{
		"nothing": {func(*peer.TCP) {}, "", "", peer.Learnt{}},
		"all": {
			func(p *peer.TCP) { p.MSS, p.SACK, p.Timestamps, p.Scale = 900, true, true, new(uint8(3)) },
			"options [mss 900,sackOK,TS val 1000000 ecr 1000000,wscale 3,eol]", "options [nop,nop,TS val 1000002 ecr 1000000]",
			peer.Learnt{MSS: 900, SACK: true, Timestamps: true, HasScale: true, Scale: 3},
		},
		"only one": {
			func(p *peer.TCP) { p.SACK = true }, "options [sackOK,eol]", "", peer.Learnt{SACK: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newCable()
			w.client.SACK, w.client.Timestamps, w.client.Scale = true, true, new(uint8(0))
			c.server(w.server)
			w.server.ISN, w.server.Window = 7, 500
			must(t, peer.Handshake(t.Context(), w.client, w.server))
			c.learned.ISN, c.learned.Window = 7, 500
			if diff := cmp.Diff(c.learned, w.client.Learnt()); diff != "" {
				t.Errorf("learnt (-want +got):\n%s", diff)
			}
			must(t, w.client.Write(t.Context(), []byte("x")))
			lines := [2]string{w.tun1.written[0].String(), w.tun0.written[2].String()}
			for i, want := range [2]string{c.answer, c.data} {
				if !strings.Contains(lines[i], want) || want == "" && strings.Contains(lines[i], "options") {
					t.Errorf("got %s\nwant %s", lines[i], want)
				}
			}
		})
	}
}

// A number that is left out is the right one; what begins elsewhere does not move it.
func TestSendCountsWhatIsInSequence(t *testing.T) {
	t.Parallel()
	w := opened(t)
	var next []uint32
	for _, s := range []peer.Segment{
		{Payload: []byte("12345")},
		{Seq: new(uint32(1)), Payload: []byte("12345")},
		{Seq: new(uint32(90000)), Payload: []byte("far")},
		{Seq: new(uint32(6)), Payload: []byte("67")},
		{Flags: rst, Seq: new(^uint32(0))},
		{Flags: ack, Ack: new(uint32(50)), Window: new(uint16(0))},
		{Payload: []byte("8"), As: func(p packet.Packet) []packet.Packet { return []packet.Packet{p, p} }},
		{Payload: []byte("9"), As: func(packet.Packet) []packet.Packet { return nil }},
		{Flags: fin | ack},
	} {
		_, err := w.client.Send(t.Context(), s)
		must(t, err)
		next = append(next, w.client.Next())
	}
	if diff := cmp.Diff([]uint32{6, 6, 6, 8, 8, 8, 9, 10, 11}, next); diff != "" {
		t.Errorf("the next number after each (-want +got):\n%s", diff)
	}
	var lines strings.Builder
	for _, p := range w.tun0.written {
		lines.WriteString(p.String() + "\n")
	}
	golden.Check(t, "sent.golden", lines.String())
}

// Packet is what Send would send, and Send is not changed by it.
func TestPacketIsNotCounted(t *testing.T) {
	t.Parallel()
	w := opened(t)
	s := peer.Segment{Payload: []byte("x")}
	kept := w.client.Packet(s)
	sent, err := w.client.Send(t.Context(), s)
	must(t, err)
	if diff := cmp.Diff(kept, sent); diff != "" {
		t.Errorf("-kept +sent:\n%s", diff)
	}
}

// Retransmit sends what was last again, with the acknowledgement and the timestamps of now.
func TestRetransmitIsTheSameSegmentNow(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newCable()
	w.client.Timestamps, w.server.Timestamps = true, true
	must(t, peer.Handshake(ctx, w.client, w.server))
	must(t, w.client.Write(ctx, []byte("once")), w.server.Write(ctx, []byte("and")))
	_, err := w.client.Expect(ctx, peer.Segment{Payload: []byte("and")})
	must(t, err, w.client.Retransmit(ctx))
	want := "IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [P.], seq 1000001:1000005, ack 5000004, win 65535, " +
		"options [nop,nop,TS val 1000003 ecr 1000001], length 4"
	if got := w.tun0.written[3].String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if w.client.Next() != 5 {
		t.Errorf("the next number is %d", w.client.Next())
	}
	if err := newCable().client.Retransmit(ctx); err == nil {
		t.Error("nothing was sent, and sent again")
	}
}

func TestResetsStandWhereTheyShould(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newCable()
	w.client.Scale, w.server.Scale, w.server.Window = new(uint8(0)), new(uint8(4)), 1000
	must(t, peer.Handshake(ctx, w.client, w.server))
	var got []string
	reset := func(kind peer.ResetKind) {
		must(t, w.client.Reset(ctx, kind))
		p, err := w.server.Expect(ctx, peer.Segment{Flags: rst})
		must(t, err)
		_, line, _ := strings.Cut(p.String(), "Flags ")
		got = append(got, line)
	}
	reset(peer.ResetInWindow) // the SYN+ACK's window is not scaled
	must(t, w.server.Ack(ctx))
	_, err := w.client.Expect(ctx, peer.Segment{})
	must(t, err)
	for _, kind := range []peer.ResetKind{peer.ResetInWindow, peer.ResetOutOfWindow, peer.ResetExact} {
		reset(kind)
	}
	want := []string{
		"[R], seq 1000501, win 65535, length 0", "[R], seq 1008001, win 65535, length 0",
		"[R], seq 1097537, win 65535, length 0", "[R], seq 1000001, win 65535, length 0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// The same tuple again: all is forgotten but the addresses, and the numbers are beyond the old ones.
func TestReuseIsANewConnection(t *testing.T) {
	t.Parallel()
	w := opened(t)
	w.client.Reuse()
	w.server.Reuse()
	must(t, peer.Handshake(t.Context(), w.client, w.server), w.client.Write(t.Context(), []byte("again")))
	_, err := w.server.Expect(t.Context(), peer.Segment{Seq: new(uint32(1)), Payload: []byte("again")})
	must(t, err)
	if got := w.server.Learnt().ISN; got != 1_000_000+1+1<<20 {
		t.Errorf("the first number of the second connection is %d", got)
	}
}

func TestSimultaneousOpenAsTheOtherSideSeesIt(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newCable()
	_, err := w.client.Send(ctx, peer.Segment{Flags: syn})
	must(t, err)
	done := make(chan error)
	go func() { done <- w.server.SimultaneousOpen(ctx) }()
	_, err = w.client.Expect(ctx, peer.Segment{Flags: syn})
	must(t, err)
	_, err = w.client.Send(ctx, peer.Segment{Flags: syn | ack, Seq: new(uint32(0))})
	must(t, err, <-done)
	_, err = w.client.Expect(ctx, peer.Segment{Flags: ack, Seq: new(uint32(1)), Ack: new(uint32(1))})
	must(t, err)
}

func TestAServerCannotSpeakFirst(t *testing.T) {
	t.Parallel()
	if err := newCable().server.Ack(t.Context()); err == nil || !strings.Contains(err.Error(), "the destination is not known yet") {
		t.Errorf("got %v", err)
	}
}

func TestPeersRefuseAddressesThatMakeNoSense(t *testing.T) {
	t.Parallel()
	inbox := peer.NewInbox()
	by := inject.New(&link{})
	for name, f := range map[string]func(){
		"no source": func() { peer.NewTCP(by, "tun0", inbox, packet.Flow{Dst: web.Dst}) },
		"no port":   func() { peer.NewUDP(by, "tun0", inbox, packet.Flow{Src: netip.AddrPortFrom(web.Src.Addr(), 0)}) },
		"families":  func() { peer.NewTCP(by, "tun0", inbox, mixed) },
		"no inbox":  func() { peer.NewTCP(by, "tun0", nil, web) },
		"echo":      func() { peer.NewEcho(by, "tun0", inbox, netip.Addr{}, web.Dst.Addr()) },
		"link":      func() { peer.NewInbox(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if r, ok := recover().(string); !ok || !strings.HasPrefix(r, "peer: ") {
					t.Errorf("got %v", r)
				}
			}()
			f()
		})
	}
}

// broken is a host whose link fails from a number of packets on.
type broken struct {
	*host
	from int
}

func (b broken) Write(p []byte) (int, error) {
	b.mu.Lock()
	n := len(b.written)
	b.mu.Unlock()
	if n >= b.from {
		return 0, errors.ErrUnsupported
	}
	return b.host.Write(p)
}

func TestSimultaneousOpenEndsWithAnACK(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newCable()
	h := broken{w.tun1, 1}
	server := peer.NewTCP(inject.New(h), "tun1", w.inbox, packet.Flow{Src: web.Dst})
	_, err := w.client.Send(ctx, peer.Segment{Flags: syn})
	must(t, err)
	done := make(chan error, 1)
	go func() { done <- server.SimultaneousOpen(ctx) }()
	_, err = w.client.Expect(ctx, peer.Segment{Flags: syn})
	must(t, err)
	_, err = w.client.Send(ctx, peer.Segment{Flags: syn | ack, Seq: new(uint32(0))})
	must(t, err)

	if err := <-done; !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v, want the error of the ACK", err)
	}
}

// An error of the Sender is that of the step.
func TestAFailedSendEndsAStep(t *testing.T) {
	t.Parallel()
	h := &link{fence: errors.ErrUnsupported}
	p := peer.NewTCP(inject.New(h), "fake0", peer.NewInbox(), web)
	if err := p.Connect(t.Context()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}
