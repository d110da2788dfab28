package inject_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/packettest"
)

// link is a Link that keeps what is written, and notes the number of packets at each fence. Its MTU is 1500.
type link struct {
	mu      sync.Mutex
	written []packet.Packet
	fences  []int
	write   func(n int, b []byte) (int, error) // the answer to the nth packet; nil: all is well
	fence   func(ctx context.Context) error    // nil: at once
}

func (*link) Name() string { return "fake0" }
func (*link) MTU() int     { return 1500 }
func (*link) L2() bool     { return false }

func (l *link) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.write != nil {
		if n, err := l.write(len(l.written), b); n < len(b) {
			return n, err
		}
	}
	l.written = append(l.written, slices.Clone(packet.Packet(b)))
	return len(b), nil
}

func (l *link) Fence(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fences = append(l.fences, len(l.written))
	if l.fence != nil {
		return l.fence(ctx)
	}
	return nil
}

func ExampleInjector_Send() {
	injector := inject.New(&link{}) // env.Links()[0], as a rule
	n, err := injector.Send(context.Background(), packet.SYNs(10, web))
	fmt.Println(n, err)
	// Output: 10 <nil>
}

func TestSendWritesInOrderAndThenFences(t *testing.T) {
	t.Parallel()
	l := &link{}

	n, err := inject.New(l).Send(t.Context(), packet.SYNs(3, web))

	if n != 3 || err != nil {
		t.Errorf("Send = %d, %v, want 3, nil", n, err)
	}
	if diff := cmp.Diff(slices.Collect(packet.SYNs(3, web)), l.written); diff != "" {
		t.Errorf("packets (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{3}, l.fences); diff != "" {
		t.Errorf("packets at the fence (-want +got):\n%s", diff)
	}
}

// outcome is what came of a Send.
type outcome struct {
	N             int
	Err           string
	Is            bool // the error is the one of the case
	Written, Held int  // packets at the link, and those at its last fence
}

func TestSendStopsAtTheFirstFailureAndFencesWhatWasSent(t *testing.T) {
	t.Parallel()
	lost := errors.New("1 of 2 packets was lost")
	syn, big := packet.SYN(web), web.UDP(make([]byte, 1473))
	refuse := func(n int, b []byte) (int, error) {
		if n == 2 {
			return 0, syscall.EIO
		}
		return len(b), nil
	}
	cases := map[string]struct {
		link *link
		seq  iter.Seq[packet.Packet]
		is   error
		want outcome
	}{
		"nothing to send": {&link{}, packet.Packets(), nil, outcome{Is: true}},
		"as large as the MTU": {
			&link{}, packet.Packets(web.UDP(make([]byte, 1472))), nil, outcome{N: 1, Is: true, Written: 1, Held: 1},
		},
		"larger than the MTU": {
			&link{}, packet.Packets(syn, big, syn), syscall.EMSGSIZE,
			outcome{1, "send packet 2 to fake0: 1501 bytes into an MTU of 1500: message too long", true, 1, 1},
		},
		"empty": {
			&link{}, packet.Packets(syn, syn, nil, syn), nil,
			outcome{2, "send packet 3 to fake0: it is empty", false, 2, 2},
		},
		"refused": {
			&link{write: refuse}, packet.Repeat(5, syn), syscall.EIO,
			outcome{2, "send packet 3 to fake0: input/output error", true, 2, 2},
		},
		"half written": {
			&link{write: func(int, []byte) (int, error) { return 20, nil }}, packet.Repeat(5, syn), nil,
			outcome{0, "send packet 1 to fake0: short write", false, 0, 0},
		},
		"lost": {
			&link{fence: func(context.Context) error { return lost }}, packet.Repeat(2, syn), lost,
			outcome{2, "send 2 packets: 1 of 2 packets was lost", true, 2, 2},
		},
		"refused and lost": {
			&link{write: refuse, fence: func(context.Context) error { return lost }}, packet.Repeat(5, syn), lost,
			outcome{2, "send packet 3 to fake0: input/output error\nsend 2 packets: 1 of 2 packets was lost", true, 2, 2},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, err := inject.New(c.link).Send(t.Context(), c.seq)

			got := outcome{N: n, Is: errors.Is(err, c.is), Written: len(c.link.written), Held: c.link.fences[0]}
			if err != nil {
				got.Err = err.Error()
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
		})
	}
}

// What was sent before the context ended is final all the same: the fence has a context of its own then.
func TestSendFencesAfterItsContextHasEnded(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	l := &link{
		write: func(n int, b []byte) (int, error) {
			if n == 1 {
				cancel()
			}
			return len(b), nil
		},
		fence: func(ctx context.Context) error { return ctx.Err() },
	}

	n, err := inject.New(l).Send(ctx, packet.SYNs(5, web))

	got := outcome{n, fmt.Sprint(err), errors.Is(err, context.Canceled), len(l.written), l.fences[0]}
	want := outcome{2, "send: stopped after 2 packets: context canceled", true, 2, 2}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcome (-want +got):\n%s", diff)
	}
}

func TestSendAsksNothingOfASequenceWhenItsContextHasEnded(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	asked := func(func(packet.Packet) bool) { t.Error("the sequence was asked for packets") }

	n, err := inject.New(&link{}).Send(ctx, asked)

	if n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("Send = %d, %v, want 0 and %v", n, err, context.Canceled)
	}
}

func TestSendMayBeCalledByManyAtOnce(t *testing.T) {
	t.Parallel()
	l := &link{}
	injector := inject.New(l)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if n, err := injector.Send(t.Context(), packet.SYNs(100, web.Nth(100*i))); n != 100 || err != nil {
				t.Errorf("Send = %d, %v, want 100, nil", n, err)
			}
		})
	}
	wg.Wait()
	slices.SortFunc(l.written, func(a, b packet.Packet) int { return slices.Compare(a[20:22], b[20:22]) })
	if diff := cmp.Diff(slices.Collect(packet.SYNs(800, web)), l.written); diff != "" {
		t.Errorf("packets by source port (-want +got):\n%s", diff)
	}
}

// sink is a Link that takes everything and keeps nothing.
type sink struct{ link }

func (*sink) Write(b []byte) (int, error)     { return len(b), nil }
func (*sink) Fence(ctx context.Context) error { return ctx.Err() }

// BenchmarkSend measures building and sending per packet, without a kernel.
func BenchmarkSend(b *testing.B) {
	b.ReportAllocs()
	injector := inject.New(&sink{})
	if n, err := injector.Send(b.Context(), packet.Repeat(b.N, packet.SYN(web))); n != b.N || err != nil {
		b.Fatalf("Send = %d, %v", n, err)
	}
}

func ExampleFrame() {
	host, peer := nf.MAC{2, 0, 0, 0, 0, 1}, nf.MAC{2, 0, 0, 0, 0, 2}
	fmt.Println(packet.SYN(web).Frame(peer, host).VLAN(5))
	fmt.Println(packet.ARPRequest(peer, web.Src.Addr(), web.Dst.Addr()))
	// Output:
	// 02:00:00:00:00:02 > 02:00:00:00:00:01, vlan 5, IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
	// 02:00:00:00:00:02 > ff:ff:ff:ff:ff:ff, ARP, who has 192.0.2.1 tell 198.18.0.2, length 28
}

func TestAFrameCarriesItsPacket(t *testing.T) {
	t.Parallel()
	got := map[string]string{}
	for name, f := range packettest.Frames() {
		if p := f.Packet(); p != nil {
			got[name] = fmt.Sprint(len(f)-len(p), " ", p)
		}
	}
	want := map[string]string{
		"frame": "14 " + packet.SYN(web).String(), "frame ipv6": "14 " + packet.SYN(web6).String(),
		"vlan": "18 " + packet.SYN(web).String(), "two vlans": "22 " + packet.SYN(web6).String(),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("packets (-want +got):\n%s", diff)
	}
}

func TestImpossibleFramesPanic(t *testing.T) {
	t.Parallel()
	mac := nf.MAC{2, 0, 0, 0, 0, 1}
	got := []string{
		packettest.PanicOf(func() { packet.SYN(web).Frame(mac, mac).VLAN(4096) }),
		packettest.PanicOf(func() { packet.Frame{1}.VLAN(1) }),
		packettest.PanicOf(func() { packet.ARPRequest(mac, web.Src.Addr(), web6.Dst.Addr()) }),
		packettest.PanicOf(func() { inject.New(&link{}).SendFrames(context.Background(), nil) }),
	}
	want := []string{
		"packet: VLAN 4096 on " + packet.SYN(web).Frame(mac, mac).String(),
		"packet: VLAN 1 on Ethernet header cut after 1 bytes",
		"packet: ARP from 198.18.0.2 to 2001:db8::1: both must be IPv4",
		"inject: SendFrames of a nil sequence",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("panics (-want +got):\n%s", diff)
	}
}

func TestALinkWithoutEthernetRefusesFrames(t *testing.T) {
	t.Parallel()
	n, err := inject.New(&link{}).SendFrames(t.Context(), packet.Frames(packet.Frame{}))

	want := "0 send frames to fake0: the link has no Ethernet: set LinkConfig.Kind to netnsenv.Veth"
	if diff := cmp.Diff(want, fmt.Sprint(n, " ", err)); diff != "" || errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// ether is a link that takes frames up to the second.
type ether struct {
	link
	frames []packet.Frame
}

func (*ether) L2() bool { return true }

func (*ether) HardwareAddr() nf.MAC { return packettest.ServerMAC }

func (*ether) PeerHardwareAddr() nf.MAC { return packettest.ClientMAC }

func (e *ether) WriteFrame(b []byte) (int, error) {
	if len(e.frames) == 2 {
		return 0, errors.New("enough")
	}
	e.frames = append(e.frames, b)
	return len(b), nil
}

func TestSendFramesStopsAtTheFirstFailureAndFences(t *testing.T) {
	t.Parallel()
	e := &ether{}
	fs := slices.Repeat([]packet.Frame{make(packet.Frame, 14)}, 4)

	n, err := inject.New(e).SendFrames(t.Context(), packet.Frames(fs...))

	got := fmt.Sprint(n, " ", err, " ", e.frames, " ", len(e.fences))
	want := fmt.Sprint(2, " send frame 3 to fake0: enough ", fs[:2], " ", 1)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What does not fit is told in the words of Send, before the kernel has words of its own.
func TestFramesThatDoNotFitAreNotSent(t *testing.T) {
	t.Parallel()
	full := web.UDP(make([]byte, 1472)).Frame(packettest.ClientMAC, packettest.ServerMAC)
	large := web.UDP(make([]byte, 1473)).Frame(packettest.ClientMAC, packettest.ServerMAC)
	got := map[string]string{}
	for name, f := range map[string]packet.Frame{
		"nothing": nil, "cut": {1, 2, 3}, "full": full, "full in a VLAN": full.VLAN(1), "full in two": full.VLAN(1).VLAN(2),
		"large": large, "large in a VLAN": large.VLAN(1), "cut tag": append(full[:12:12], 0x81, 0, 1),
	} {
		_, err := inject.New(&ether{}).SendFrames(t.Context(), packet.Frames(f))
		if failed := (*inject.SendError)(nil); errors.As(err, &failed) {
			err = failed.Err
		}
		got[name] = fmt.Sprint(err)
	}
	want := map[string]string{
		"nothing": "0 bytes: want 14 or more", "cut": "3 bytes: want 14 or more", "full": "<nil>", "full in a VLAN": "<nil>",
		"full in two":     "1522 bytes with 2 tags into 1518: message too long",
		"large":           "1501 bytes into an MTU of 1500: message too long",
		"large in a VLAN": "1501 bytes into an MTU of 1500: message too long",
		"cut tag":         "<nil>",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCallsWithNothingToSendOrToSendByPanic(t *testing.T) {
	t.Parallel()
	got := []string{
		packettest.PanicOf(func() { inject.New(nil) }),
		packettest.PanicOf(func() { inject.New(&link{}).Send(t.Context(), nil) }),
	}
	want := []string{"inject: New of a nil Link: Env.Link returns nil if there is none of that name", "inject: Send of a nil sequence"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
