package peer_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/ctexp/peer"
	"github.com/ctexp/go-ctexp/internal/golden"
)

// host is a Link to a host that answers what is written to it as it is told.
type host struct {
	name string

	mu      sync.Mutex
	written []packet.Packet
	queue   []packet.Packet
	fences  int
	answer  func(p packet.Packet) []packet.Packet // nil: nothing
	late    func() []packet.Packet                // what it has sent only when it is fenced; nil: nothing
}

func (h *host) Name() string                    { return h.name }
func (h *host) MTU() int                        { return 1500 }
func (h *host) L2() bool                        { return false }
func (h *host) Read([]byte) (int, error)        { return 0, errors.ErrUnsupported }
func (h *host) SetReadDeadline(time.Time) error { return errors.ErrUnsupported }

func (h *host) ReadNow(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.queue) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, h.queue[0])
	h.queue = h.queue[1:]
	return n, nil
}

func (h *host) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := slices.Clone(packet.Packet(b))
	h.written = append(h.written, p)
	if h.answer != nil {
		h.queue = append(h.queue, h.answer(p)...)
	}
	return len(b), nil
}

func (h *host) Fence(context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fences++
	if h.late != nil {
		h.queue = append(h.queue, h.late()...)
		h.late = nil
	}
	return nil
}

// sends lets the host send packets.
func (h *host) sends(ps ...packet.Packet) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.queue = append(h.queue, ps...)
}

// over is a context that has ended.
func over(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// What an expectation passes over is still there for the next.
func TestExpectLeavesTheOthersUnread(t *testing.T) {
	t.Parallel()
	h := &host{name: "tun0"}
	inbox := peer.NewInbox(h)
	one, two, three := web.UDP([]byte("1")), web.UDP([]byte("2")), web.UDP([]byte("3"))
	h.sends(one, two, three)
	var got []packet.Packet
	for _, payload := range []string{"2", "1"} {
		a, err := inbox.Expect(over(t), packet.Match{Payload: []byte(payload)})
		if err != nil {
			t.Fatal(err)
		}
		if a.Number != 0 {
			t.Errorf("%v has the number %d, which is the Inbox's own", a, a.Number)
		}
		got = append(got, a.Packet)
	}
	rest, err := inbox.Received(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range rest {
		got = append(got, a.Packet)
	}
	if diff := cmp.Diff([]packet.Packet{two, one, three}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// An expectation waits for what comes later, by whatever link.
func TestExpectWaits(t *testing.T) {
	t.Parallel()
	h, other := &host{name: "tun0"}, &host{name: "tun1"}
	inbox := peer.NewInbox(h, other)
	h.sends(packet.ACK(web))
	var once sync.Once
	want := packet.Match{Is: func(p packet.Packet) error {
		once.Do(func() { other.sends(packet.SYN(web)) }) // while the first one is looked at
		if p.Tuple() != web.Tuple(nf.TCP) || len(p) == 0 {
			return errors.New("something else")
		}
		return nil
	}, Flags: packet.FlagSYN}
	a, err := inbox.Expect(t.Context(), want)
	if err != nil || a.Link != "tun1" {
		t.Errorf("got %v, %v", a, err)
	}
}

// Nothing is only nothing when the host is done with all that was sent to it.
func TestExpectNothingComesAfterTheFence(t *testing.T) {
	t.Parallel()
	h := &host{name: "tun0", late: func() []packet.Packet { return []packet.Packet{packet.RST(web)} }}
	inbox := peer.NewInbox(h)
	err := inbox.ExpectNothing(t.Context(), packet.Match{Flags: packet.FlagRST})
	want := "nothing was expected: a packet came\npackets that came (✓ taken, = nothing new, ✗ not expected):\n  ✗ tun0: " + packet.RST(web).String()
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	if err := inbox.ExpectNothing(t.Context(), packet.Match{Flags: packet.FlagSYN}); err != nil {
		t.Errorf("another packet: %v", err)
	}
}

// An expectation that is not met says what was wanted of the nearest packet, and what came.
func TestFailedExpectationsExplainThemselves(t *testing.T) {
	t.Parallel()
	h := &host{name: "tun0"}
	inbox := peer.NewInbox(h)
	h.sends(packet.SYN(web), packet.RST(web.Reverse()), packet.SYNACK(web.Reverse()))
	if _, err := inbox.Expect(t.Context(), packet.Match{Flags: packet.FlagSYN}); err != nil {
		t.Fatal(err)
	}
	_, err := inbox.Expect(over(t), packet.Match{
		Out: "tun0", Src: web.Dst, Dst: web.Src, Flags: packet.FlagSYN | packet.FlagACK, Ack: new(uint32(7)), Options: []packet.TCPOption{packet.MSS(1460)},
	})
	var failed *peer.ExpectationError
	if !errors.As(err, &failed) || !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	golden.Check(t, "expectation.golden", err.Error()+"\n")

	_, err = peer.NewInbox(&host{name: "tun1"}).Expect(over(t), packet.Match{})
	if want := "no such packet: context canceled\nno packet came"; err == nil || err.Error() != want {
		t.Errorf("of nothing: got %v\nwant %s", err, want)
	}
}

// Where nothing came there is still what was wanted, and for how long it was waited for.
func TestFailedExpectationsSayWhatWasWanted(t *testing.T) {
	t.Parallel()
	inbox := peer.NewInbox(&host{name: "tun1"})
	inbox.Patience = time.Millisecond
	var text strings.Builder
	for _, w := range []packet.Match{
		{Out: "tun1", Proto: nf.UDP, Dst: web.Dst, TTL: new(uint8(63)), Payload: []byte("hello")},
		{ICMPType: new(uint8(11)), About: &packet.Match{Exactly: packet.SYN(web)}, Is: func(packet.Packet) error { return nil }},
	} {
		_, err := inbox.Expect(t.Context(), w)
		text.WriteString(err.Error() + "\n")
	}
	golden.Check(t, "nothing.golden", text.String())
}

// An expectation looks at the checksums of what is meant, unless it is told not to, or knows every byte.
func TestExpectationsLookAtChecksums(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		packet packet.Packet
		match  packet.Match
		want   string
	}{
		"wrong":             {packet.SYN(web).With(packet.Checksum(1)), packet.Match{Flags: packet.FlagSYN}, "≠ checksum | right | wrong for tcp: 0x1, want 0x"},
		"header":            {packet.SYN(web).With(packet.HeaderChecksum(1)), packet.Match{}, "≠ checksum | right | wrong in the IPv4 header"},
		"any":               {packet.SYN(web).With(packet.Checksum(1)), packet.Match{AnyChecksum: true}, "<nil>"},
		"any in the header": {packet.SYN(web).With(packet.HeaderChecksum(1)), packet.Match{AnyChecksum: true}, "<nil>"},
		"exactly":           {packet.SYN(web).With(packet.Checksum(1)), packet.Match{Exactly: packet.SYN(web).With(packet.Checksum(1))}, "<nil>"},
		"none":              {web.UDP(nil).With(packet.Checksum(0)), packet.Match{}, "<nil>"},
		"quoted":            {packet.TimeExceeded(web.Dst.Addr(), packet.SYN(web).With(packet.Checksum(1))), packet.Match{About: &packet.Match{Src: web.Src}}, "<nil>"},
	} {
		h := &host{name: "tun0"}
		h.sends(c.packet)
		if _, err := peer.NewInbox(h).Expect(over(t), c.match); !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// What is not to come is not to come with a wrong checksum either.
func TestExpectNothingLooksAtNoChecksum(t *testing.T) {
	t.Parallel()
	h := &host{name: "tun0"}
	h.sends(packet.SYN(web).With(packet.Checksum(7)))
	if err := peer.NewInbox(h).ExpectNothing(t.Context(), packet.Match{Out: "tun0", Proto: nf.TCP}); err == nil {
		t.Error("a SYN with a wrong checksum is nothing")
	}
}

// A link that there is not, or that makes no sense, is not waited for, nor is nothing expected of it.
func TestMatchesOfUnknownLinksFail(t *testing.T) {
	t.Parallel()
	inbox := peer.NewInbox(&host{name: "tun0"}, &host{name: "tun1"})
	by := inject.New(&link{})
	end := func(f func(p *peer.TCP) error) error { return f(peer.NewTCP(by, "tun9", inbox, web)) }
	_, expect := inbox.Expect(t.Context(), packet.Match{Out: "tun9"})
	_, next := peer.NewUDP(by, "tun9", inbox, web).Expect(t.Context(), nil)
	one := peer.NewInbox(&host{name: "tun0"}).ExpectNothing(t.Context(), packet.Match{Out: "tun9"})
	const unknown = `no link "tun9"; there are tun0, tun1`
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"Expect":                {expect, unknown},
		"ExpectNothing":         {inbox.ExpectNothing(t.Context(), packet.Match{Out: "tun0"}, packet.Match{Out: "tun9"}), unknown},
		"one link":              {one, `no link "tun9"; there is tun0`},
		"no link at all":        {peer.NewInbox().ExpectNothing(t.Context(), packet.Match{Out: "tun9"}), `no link "tun9": there is none`},
		"In":                    {inbox.ExpectNothing(t.Context(), packet.Match{In: "tun0"}), `Match.In is "tun0"`},
		"About":                 {inbox.ExpectNothing(t.Context(), packet.Match{About: &packet.Match{About: &packet.Match{Out: "tun0"}}}), `Match.About.Out is "tun0"`},
		"a segment":             {end(func(p *peer.TCP) error { _, err := p.Expect(t.Context(), peer.Segment{}); return err }), unknown},
		"no segment":            {end(func(p *peer.TCP) error { return p.ExpectNothing(t.Context()) }), unknown},
		"a datagram":            {next, unknown},
		"no datagram":           {peer.NewUDP(by, "tun9", inbox, web).ExpectNothing(t.Context()), unknown},
		"no message of an echo": {peer.NewEcho(by, "tun9", inbox, web.Src.Addr(), web.Dst.Addr()).ExpectNothing(t.Context()), unknown},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", name, c.err, c.want)
		}
	}
}

// A host with IPv6 introduces itself at random moments: that is neither something nor nothing.
func TestNoiseIsOnlySeenByWhoeverAsksForIt(t *testing.T) {
	t.Parallel()
	h := &host{name: "tun0"}
	inbox := peer.NewInbox(h)
	report, err := packet.Build(
		&layers.IPv6{HopLimit: 1, SrcIP: web6.Src.Addr().AsSlice(), DstIP: []byte{0: 0xff, 1: 2, 15: 0x16}},
		&layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(143, 0)}, gopacket.Payload(make([]byte, 4)),
	)
	if err != nil {
		t.Fatal(err)
	}
	h.sends(report, report)
	if err := inbox.ExpectNothing(t.Context()); err != nil {
		t.Errorf("ExpectNothing: %v", err)
	}
	if _, err := inbox.Expect(over(t), packet.Match{}); err == nil {
		t.Error("Expect of any packet took it")
	}
	if _, err := inbox.Expect(over(t), packet.Match{ICMPType: new(uint8(143))}); err != nil {
		t.Errorf("Expect of a report: %v", err)
	}
	if got, err := inbox.Received(t.Context()); len(got) > 0 || err != nil {
		t.Errorf("Received: %v, %v", got, err)
	}
}

// Only what a host sends by itself is noise: whatever else is sent to a multicast address is seen.
func TestAnEchoToAllNodesIsNoNoise(t *testing.T) {
	t.Parallel()
	h := &host{name: "tun0"}
	h.sends(packet.Echo(web6.Src.Addr(), netip.MustParseAddr("ff02::1"), 1, 1, nil))

	err := peer.NewInbox(h).ExpectNothing(t.Context())

	if err == nil || !strings.HasPrefix(err.Error(), "nothing was expected: a packet came") {
		t.Errorf("got %v", err)
	}
}

// What nobody takes does not fill the memory, and is not missing silently.
func TestTooManyUnreadPacketsAreAnError(t *testing.T) {
	t.Parallel()
	h := &host{name: "tun0"}
	inbox := peer.NewInbox(h)
	h.sends(slices.Repeat([]packet.Packet{packet.SYN(web)}, 2*16384)...)
	_, expect := inbox.Expect(t.Context(), packet.Match{})
	_, received := inbox.Received(t.Context())
	for name, err := range map[string]error{"Expect": expect, "Received": received} {
		if want := "16384 unread packets were discarded"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
}

// Several goroutines may wait for packets of their own; each packet is taken once.
func TestManyMayExpectAtOnce(t *testing.T) {
	t.Parallel()
	const n = 50
	h := &host{name: "tun0"}
	inbox := peer.NewInbox(h)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if _, err := inbox.Expect(t.Context(), packet.Match{Src: web.Nth(i).Src}); err != nil {
				t.Error(err)
			}
		})
	}
	for p := range packet.SYNs(n, web) {
		h.sends(p)
	}
	wg.Wait()
	if err := inbox.ExpectNothing(t.Context()); err != nil {
		t.Error(err)
	}
}

// slow is a Link that has deadlines and no ReadNow.
type slow struct {
	*host
	deadline time.Time
}

func (s *slow) SetReadDeadline(t time.Time) error { s.deadline = t; return nil }
func (s *slow) ReadNow()                          {}

func (s *slow) Read(b []byte) (int, error) {
	if !time.Now().Before(s.deadline) {
		return 0, os.ErrDeadlineExceeded
	}
	return s.host.ReadNow(b)
}

func TestAnInboxReadsAnyLink(t *testing.T) {
	t.Parallel()
	h := &host{name: "tun0"}
	h.sends(packet.SYN(web))
	if a, err := peer.NewInbox(&slow{host: h}).Expect(t.Context(), packet.Match{}); a.String() != "tun0 Out "+packet.SYN(web).String() || err != nil {
		t.Errorf("got %v, %v", a, err)
	}
}

func TestALinkThatFailsEndsAnExpectation(t *testing.T) {
	t.Parallel()
	inbox := peer.NewInbox(&link{})
	_, expect := inbox.Expect(t.Context(), packet.Match{})
	for name, err := range map[string]error{"Expect": expect, "Drain": inbox.Drain()} {
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "fake0") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// Whoever has no patience gives up before his context does.
func TestPatienceEndsAnExpectation(t *testing.T) {
	t.Parallel()
	inbox := peer.NewInbox(&host{name: "tun0"})
	inbox.Patience = time.Millisecond
	_, err := inbox.Expect(t.Context(), packet.Match{})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "none within 1ms (Inbox.Patience)") {
		t.Errorf("got %v", err)
	}
}
