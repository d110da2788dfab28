package observe_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// needsLaterRing skips the test where no ring takes the place of a socket.
func needsLaterRing(t testing.TB) {
	t.Helper()
	if !observe.OrdersStores {
		needs.Check(t, &nf.UnsupportedError{Need: "a machine that keeps the order of stores", Hint: "amd64"})
	}
}

// While two links are flooded and the host answers, a ring takes the place of the socket. No frame is missing and none is
// there twice, those of a link are in order, and each answer is behind its question.
func TestRingTakesThePlaceOfASocketBetweenTwoFrames(t *testing.T) {
	t.Parallel()
	needsLaterRing(t)
	const most, behind = 20_000, 1000 // packets of each link: at most before the ring is there, and afterwards
	for round := range 5 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			t.Parallel()
			x := open(t, netnsenv.Config{Conntrack: netnsenv.Off, NoPath: true, Links: []netnsenv.LinkConfig{
				{Name: "a0", Prefixes: prefixes("192.0.2.1/24"), Routes: prefixes("198.18.0.0/24")},
				{Name: "b0", Prefixes: prefixes("192.0.3.1/24"), Routes: prefixes("198.18.1.0/24")},
			}})
			flows := []packet.Flow{
				{Src: addrPort("198.18.0.2:10000"), Dst: addrPort("192.0.2.1:80")},
				{Src: addrPort("198.18.1.2:10000"), Dst: addrPort("192.0.3.1:80")},
			}
			var sending sync.WaitGroup
			sent := make([]int, len(flows))
			for i, link := range x.env.Links() {
				send := func() {
					if _, err := link.Write(packet.SYN(flows[i].Nth(sent[i]))); err != nil {
						t.Error(err)
					}
					if sent[i]++; sent[i]%64 == 0 {
						x.o.Drain()
					}
				}
				sending.Go(func() {
					for !observe.HasRing(x.o) {
						if sent[i] == most {
							x.await("a ring", func() bool { return observe.HasRing(x.o) })
							break
						}
						send()
					}
					for range behind {
						send()
					}
				})
			}
			sending.Wait()
			for _, link := range x.env.Links() {
				needs.Check(t, link.Fence(t.Context()))
			}

			next := map[string]int{} // of each link and direction
			for f, err := range x.o.Frames(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				tuple := f.Tuple()
				peer := tuple.Src
				if f.Dir == packet.Out {
					peer = tuple.Dst
				}
				key := fmt.Sprint(f.Link, f.Dir)
				if want := uint16(10000 + next[key]); peer.Port() != want {
					t.Fatalf("%s: frame %d is about port %d, want %d", key, next[key], peer.Port(), want)
				}
				next[key]++
				if in := next[fmt.Sprint(f.Link, packet.In)]; f.Dir == packet.Out && next[key] > in {
					t.Fatalf("%s: answer %d is before its question", f.Link, next[key])
				}
			}
			want := map[string]int{}
			for i, link := range x.env.Links() {
				for _, dir := range []packet.Dir{packet.In, packet.Out} {
					want[fmt.Sprint(link.Name(), dir)] = sent[i]
				}
			}
			if diff := cmp.Diff(want, next); diff != "" {
				t.Errorf("frames (-want +got):\n%s", diff)
			}
		})
	}
}

// A ring is taken when there are many frames, and not before.
func TestWhenARingIsTaken(t *testing.T) {
	t.Parallel()
	needsLaterRing(t)
	const few, more = 100, 5000
	x := open(t, netnsenv.Config{Silent: true, NoPath: true}, func(c *observe.Config) { c.NoFrames = true })
	o, err := observe.Open(t.Context(), copied{x.env}, configOf(x.env))
	needs.Check(t, err)
	t.Cleanup(func() { needs.Check(t, o.Close()) })
	x.o = o
	syn := func(i int) packet.Packet { return packet.SYN(web.Nth(i)) }
	x.flood(few, syn)
	if n := len(x.frames()); n != few || observe.HasRing(x.o) {
		t.Errorf("after %d frames: a ring: %v", n, observe.HasRing(x.o))
	}
	sent := few
	x.await("a ring", func() bool {
		x.flood(more, syn)
		sent += more
		return observe.HasRing(x.o)
	})
	x.flood(more, syn)
	if n := len(x.frames()); n != sent+more {
		t.Errorf("%d frames, want %d", n, sent+more)
	}
}

// copied is an Env whose kernel lets rules write packets.
type copied struct{ *netnsenv.Env }

func (copied) CopiesFragments() bool { return true }

// An Observer that is closed while its ring is made leaves nothing behind.
func TestCloseWhileARingIsMade(t *testing.T) {
	env, err := netnsenv.Open(t.Context(), netnsenv.Config{Silent: true, NoPath: true})
	needs.Check(t, err)
	t.Cleanup(func() { needs.Check(t, env.Close()) })
	before := packetSockets(t, env) // those of links that are veth
	for range 20 {
		o, err := observe.Open(t.Context(), env, configOf(env))
		needs.Check(t, err)
		x := lab{TB: t, env: env, o: o}
		x.flood(1000, func(i int) packet.Packet { return packet.SYN(web.Nth(i)) })
		frames := len(x.frames())
		needs.Check(t, o.Close())
		if frames != 1000 {
			t.Errorf("%d frames", frames)
		}
	}
	x := lab{TB: t, env: env}
	x.await("no packet socket more", func() bool { return packetSockets(t, env) == before })
}

// Frames that the socket lost and those that the ring lost are counted together.
func TestFramesThatSocketAndRingLostAreCounted(t *testing.T) {
	t.Parallel()
	needsLaterRing(t)
	const some, many = 60_000, 60_000
	x := open(t, netnsenv.Config{Silent: true, NoPath: true})
	release := observe.HoldCapture(x.o)
	for range 3 {
		x.sendSYNs(some/3, web)
	}
	release()
	if err := lastError(x.o.Frames(t.Context())); !errors.Is(err, observe.ErrFramesLost) {
		t.Fatal(err)
	}
	x.await("a ring", func() bool { return observe.HasRing(x.o) })
	release = observe.HoldCapture(x.o)
	for range 3 {
		x.sendSYNs(many/3, web)
	}
	release()

	n, last := counted(x.o.Frames(t.Context()))
	if want := fmt.Sprintf("frames: %v: %d found the kernel's buffer full", observe.ErrFramesLost, some+many-n); last == nil || last.Error() != want {
		t.Errorf("%d frames, then %v; want %s", n, last, want)
	}
}

// Frames larger than any MTU, which loopback carries in one piece, go through a later ring as they go through a socket.
func TestLargeFramesGoThroughALaterRing(t *testing.T) {
	t.Parallel()
	for name, capture := range captures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := capture.open(t, netnsenv.Config{})
			at := netip.MustParseAddrPort("127.0.0.1:4000")
			to, err := x.env.ListenPacket(t.Context(), "udp4", at.String())
			needs.Check(t, err)
			defer to.Close()
			data := make([]byte, 60_000)
			for i := range data {
				data[i] = byte(i * 7)
			}
			const n = 100
			for range n {
				if _, err := to.WriteTo(data, net.UDPAddrFromAddrPort(at)); err != nil {
					t.Fatal(err)
				}
				x.o.Drain()
			}
			got := 0
			x.await("all frames", func() bool {
				got = 0
				for _, f := range collect(t, x.o.Frames(t.Context())) {
					if f.Link == "lo" && len(f.Packet) == 28+len(data) && string(f.Packet[28:]) == string(data) && !f.IsCut() {
						got++
					}
				}
				return got >= n
			})
			if got != n {
				t.Errorf("%d frames, want %d", got, n)
			}
		})
	}
}

// packetSockets returns how many packet sockets there are in the namespace.
func packetSockets(t testing.TB, env *netnsenv.Env) int {
	t.Helper()
	var text []byte
	needs.Check(t, env.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/packet")
		return err
	}))
	return bytes.Count(text, []byte("\n")) - 1
}
