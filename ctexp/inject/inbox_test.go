package inject_test

import (
	"context"
	"errors"
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
)

// host is a Link to a host that answers what is written to it as it is told.
type host struct {
	name string

	mu      sync.Mutex
	written []inject.Packet
	queue   []inject.Packet
	fences  int
	answer  func(p inject.Packet) []inject.Packet // nil: nothing
	late    func() []inject.Packet                // what it has sent only when it is fenced; nil: nothing
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
	p := slices.Clone(inject.Packet(b))
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
func (h *host) sends(ps ...inject.Packet) {
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
	inbox := inject.NewInbox(h)
	one, two, three := web.UDP([]byte("1")), web.UDP([]byte("2")), web.UDP([]byte("3"))
	h.sends(one, two, three)
	var got []inject.Packet
	for _, payload := range []string{"2", "1"} {
		a, err := inbox.Expect(over(t), inject.Want{Payload: []byte(payload)})
		if err != nil {
			t.Fatal(err)
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
	if diff := cmp.Diff([]inject.Packet{two, one, three}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// An expectation waits for what comes later, by whatever link.
func TestExpectWaits(t *testing.T) {
	t.Parallel()
	h, other := &host{name: "tun0"}, &host{name: "tun1"}
	inbox := inject.NewInbox(h, other)
	h.sends(inject.ACK(web))
	var once sync.Once
	want := inject.Want{Is: func(p inject.Packet) error {
		once.Do(func() { other.sends(inject.SYN(web)) }) // while the first one is looked at
		if p.Tuple() != web.Tuple(nf.TCP) || len(p) == 0 {
			return errors.New("something else")
		}
		return nil
	}, Flags: inject.FlagSYN}
	a, err := inbox.Expect(t.Context(), want)
	if err != nil || a.Out != "tun1" {
		t.Errorf("got %v, %v", a, err)
	}
}

// Nothing is only nothing when the host is done with all that was sent to it.
func TestExpectNothingComesAfterTheFence(t *testing.T) {
	t.Parallel()
	h := &host{name: "tun0", late: func() []inject.Packet { return []inject.Packet{inject.RST(web)} }}
	inbox := inject.NewInbox(h)
	err := inbox.ExpectNothing(t.Context(), inject.Want{Flags: inject.FlagRST})
	want := "nothing was expected: something came\nwhat came (✓ taken, = nothing new, ✗ not expected):\n  ✗ tun0: " + inject.RST(web).String()
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	if err := inbox.ExpectNothing(t.Context(), inject.Want{Flags: inject.FlagSYN}); err != nil {
		t.Errorf("another packet: %v", err)
	}
}

// An expectation that is not met says what was wanted of the nearest packet, and what came.
func TestUnmetExpectationsExplainThemselves(t *testing.T) {
	t.Parallel()
	h := &host{name: "tun0"}
	inbox := inject.NewInbox(h)
	h.sends(inject.SYN(web), inject.RST(web.Reverse()), inject.SYNACK(web.Reverse()))
	if _, err := inbox.Expect(t.Context(), inject.Want{Flags: inject.FlagSYN}); err != nil {
		t.Fatal(err)
	}
	_, err := inbox.Expect(over(t), inject.Want{
		Out: "tun0", Src: web.Dst, Dst: web.Src, Flags: inject.FlagSYN | inject.FlagACK, Ack: new(uint32(7)), Options: []layers.TCPOption{inject.MSS(1460)},
	})
	var unmet *inject.UnmetError
	if !errors.As(err, &unmet) || !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	golden(t, "unmet.golden", err.Error()+"\n")

	_, err = inject.NewInbox(&host{name: "tun1"}).Expect(over(t), inject.Want{})
	if want := "no such packet: context canceled\nno packet came at all"; err == nil || err.Error() != want {
		t.Errorf("of nothing: got %v\nwant %s", err, want)
	}
}

// Where nothing came there is still what was wanted, and for how long it was waited for.
func TestUnmetExpectationsSayWhatWasWanted(t *testing.T) {
	t.Parallel()
	inbox := inject.NewInbox(&host{name: "tun1"})
	inbox.Patience = time.Millisecond
	var text strings.Builder
	for _, w := range []inject.Want{
		{Out: "tun1", Proto: nf.UDP, Dst: web.Dst, TTL: new(uint8(63)), Payload: []byte("hello")},
		{ICMPType: new(uint8(11)), About: &inject.Want{Exactly: inject.SYN(web)}, Is: func(inject.Packet) error { return nil }},
	} {
		_, err := inbox.Expect(t.Context(), w)
		text.WriteString(err.Error() + "\n")
	}
	golden(t, "nothing.golden", text.String())
}

// What is not to come is not to come with a wrong checksum either.
func TestExpectNothingLooksAtNoChecksum(t *testing.T) {
	t.Parallel()
	h := &host{name: "tun0"}
	h.sends(inject.SYN(web).With(inject.Checksum(7)))
	if err := inject.NewInbox(h).ExpectNothing(t.Context(), inject.Want{Out: "tun0", Proto: nf.TCP}); err == nil {
		t.Error("a SYN with a wrong checksum is nothing")
	}
}

// A link that there is not, or that makes no sense, is not waited for, nor is nothing expected of it.
func TestWantsOfUnknownLinksFail(t *testing.T) {
	t.Parallel()
	inbox := inject.NewInbox(&host{name: "tun0"}, &host{name: "tun1"})
	by := inject.New(&link{})
	peer := func(f func(p *inject.TCPPeer) error) error { return f(inject.NewTCP(by, "tun9", inbox, web)) }
	_, expect := inbox.Expect(t.Context(), inject.Want{Out: "tun9"})
	_, next := inject.NewUDP(by, "tun9", inbox, web).Expect(t.Context(), nil)
	one := inject.NewInbox(&host{name: "tun0"}).ExpectNothing(t.Context(), inject.Want{Out: "tun9"})
	const unknown = `no link "tun9"; there are tun0, tun1`
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"Expect":                {expect, unknown},
		"ExpectNothing":         {inbox.ExpectNothing(t.Context(), inject.Want{Out: "tun0"}, inject.Want{Out: "tun9"}), unknown},
		"one link":              {one, `no link "tun9"; there is tun0`},
		"no link at all":        {inject.NewInbox().ExpectNothing(t.Context(), inject.Want{Out: "tun9"}), `no link "tun9": there is none`},
		"About":                 {inbox.ExpectNothing(t.Context(), inject.Want{About: &inject.Want{About: &inject.Want{Out: "tun0"}}}), `Want.About.Out is "tun0"`},
		"a segment":             {peer(func(p *inject.TCPPeer) error { _, err := p.Expect(t.Context(), inject.Segment{}); return err }), unknown},
		"no segment":            {peer(func(p *inject.TCPPeer) error { return p.ExpectNothing(t.Context()) }), unknown},
		"a datagram":            {next, unknown},
		"no datagram":           {inject.NewUDP(by, "tun9", inbox, web).ExpectNothing(t.Context()), unknown},
		"no message of an echo": {inject.NewEcho(by, "tun9", inbox, web.Src.Addr(), web.Dst.Addr()).ExpectNothing(t.Context()), unknown},
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
	inbox := inject.NewInbox(h)
	report, err := inject.Build(
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
	if _, err := inbox.Expect(over(t), inject.Want{}); err == nil {
		t.Error("Expect of any packet took it")
	}
	if _, err := inbox.Expect(over(t), inject.Want{ICMPType: new(uint8(143))}); err != nil {
		t.Errorf("Expect of a report: %v", err)
	}
	if got, err := inbox.Received(t.Context()); len(got) > 0 || err != nil {
		t.Errorf("Received: %v, %v", got, err)
	}
}

// What nobody takes does not fill the memory, and is not missing silently.
func TestTooManyUnreadPacketsAreAnError(t *testing.T) {
	t.Parallel()
	h := &host{name: "tun0"}
	inbox := inject.NewInbox(h)
	h.sends(slices.Repeat([]inject.Packet{inject.SYN(web)}, 2*16384)...)
	_, err := inbox.Expect(t.Context(), inject.Want{})
	if want := "16384 packets that nobody took are lost"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// Several goroutines may wait for packets of their own; each packet is taken once.
func TestManyMayExpectAtOnce(t *testing.T) {
	t.Parallel()
	const n = 50
	h := &host{name: "tun0"}
	inbox := inject.NewInbox(h)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if _, err := inbox.Expect(t.Context(), inject.Want{Src: web.Nth(i).Src}); err != nil {
				t.Error(err)
			}
		})
	}
	for p := range inject.SYNs(n, web) {
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
	h.sends(inject.SYN(web))
	if a, err := inject.NewInbox(&slow{host: h}).Expect(t.Context(), inject.Want{}); a.String() != "tun0: "+inject.SYN(web).String() || err != nil {
		t.Errorf("got %v, %v", a, err)
	}
}

func TestALinkThatFailsEndsAnExpectation(t *testing.T) {
	t.Parallel()
	_, err := inject.NewInbox(&link{}).Expect(t.Context(), inject.Want{})
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "fake0") {
		t.Errorf("got %v", err)
	}
}

// Whoever has no patience gives up before his context does.
func TestPatienceEndsAnExpectation(t *testing.T) {
	t.Parallel()
	inbox := inject.NewInbox(&host{name: "tun0"})
	inbox.Patience = time.Millisecond
	_, err := inbox.Expect(t.Context(), inject.Want{})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "none within 1ms (Inbox.Patience)") {
		t.Errorf("got %v", err)
	}
}
