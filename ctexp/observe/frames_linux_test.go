package observe_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// brief prints a frame without its time and without IPv6, which a fresh link may speak of itself.
func (l lab) frames() []string {
	l.Helper()
	var s []string
	for f, err := range l.o.Frames(l.Context()) {
		if err != nil {
			l.Fatal(err)
		}
		if f.EtherType == 0x0800 {
			_, brief, _ := strings.Cut(f.String(), " ")
			s = append(s, brief)
		}
	}
	return s
}

var captures = map[string]func(*observe.Config){
	"socket": func(*observe.Config) {},
	"ring":   func(c *observe.Config) { c.Ring = 1 },
}

// A frame is there as soon as the write that injected it has returned, and so is the answer of the host.
func TestFramesAreThereAtOnce(t *testing.T) {
	t.Parallel()
	for name, capture := range captures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := open(t, netnsenv.Config{}, capture)
			var want []string
			for i := range 100 {
				x.send(inject.SYN(web.Nth(i)))
				want = append(want,
					fmt.Sprintf("tun0 In  IP 198.18.0.2.%d > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0", 10000+i),
					fmt.Sprintf("tun0 Out IP 192.0.2.1.80 > 198.18.0.2.%d: Flags [R.], seq 0, ack 2, win 0, length 0", 10000+i))
				if diff := cmp.Diff(want, x.frames()); diff != "" {
					t.Fatalf("after %d SYNs (-want +got):\n%s", i+1, diff)
				}
			}
		})
	}
}

// The far end of a veth link is not seen, nor is what goes over loopback seen twice.
func TestFramesAreSeenOnce(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, Links: []netnsenv.LinkConfig{{
		Name: "veth0", Kind: netnsenv.Veth, Prefixes: prefixes("192.0.2.1/24"), Routes: prefixes("0.0.0.0/0"),
	}}})
	x.send(inject.SYN(web))
	from, err := x.env.ListenPacket(t.Context(), "udp4", "127.0.0.1:4000")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	if _, err := from.WriteTo([]byte("hello"), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4000}); err != nil {
		t.Fatal(err)
	}

	want := []string{
		"veth0 In  IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0",
		"lo In  IP 127.0.0.1.4000 > 127.0.0.1.4000: UDP, length 5",
	}
	var got []string
	x.await("both frames are there", func() bool { got = x.frames(); return len(got) >= len(want) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFramesDecode(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	p := web.UDP([]byte("hello"))
	x.send(p)
	for f, err := range x.o.Frames(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]byte(p), f.Packet); diff != "" {
			t.Errorf("bytes (-want +got):\n%s", diff)
		}
		udp, ok := f.Decode().TransportLayer().(*layers.UDP)
		if !ok || string(udp.Payload) != "hello" {
			t.Errorf("decoded: %v", f.Decode())
		}
		if f.Time.IsZero() {
			t.Error("no time")
		}
	}
}

func TestMoreFramesThanAreKeptIsAnError(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true}, func(c *observe.Config) { c.MaxFrames = 3 })
	x.sendSYNs(10, web)
	n := 0
	var last error
	for f, err := range x.o.Frames(t.Context()) {
		if err == nil && f.Link == "tun0" {
			n++
		}
		last = err
	}
	if n != 3 || !errors.Is(last, observe.ErrFramesLost) || !strings.Contains(last.Error(), "7 came when as many were kept") {
		t.Errorf("%d frames, then %v", n, last)
	}
}

// What the kernel had no room for is counted, with a socket and with a ring.
func TestFramesThatTheKernelDroppedAreAnError(t *testing.T) {
	t.Parallel()
	for name, capture := range captures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := open(t, netnsenv.Config{Silent: true, NoPath: true}, capture)
			release := observe.HoldCapture(x.o)
			const sent = 60000
			x.sendSYNs(sent/3, web)
			x.sendSYNs(sent/3, web)
			x.sendSYNs(sent/3, web)
			release()

			n := 0
			var last error
			for _, err := range x.o.Frames(t.Context()) {
				if err == nil {
					n++
				}
				last = err
			}
			if !errors.Is(last, observe.ErrFramesLost) {
				t.Fatalf("%d frames, then %v", n, last)
			}
			if want := fmt.Sprintf("%d found the kernel's buffer full", sent-n); !strings.Contains(last.Error(), want) {
				t.Errorf("%d frames, then %v; want %q", n, last, want)
			}
		})
	}
}

func TestNoFramesIsUnsupported(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{}, func(c *observe.Config) { c.NoFrames = true })
	if err := lastError(x.o.Frames(t.Context())); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkCapture(b *testing.B) {
	for _, c := range []struct {
		name   string
		change func(*observe.Config)
	}{
		{"none", func(c *observe.Config) { c.NoFrames = true }},
		{"socket", func(*observe.Config) {}},
		{"ring of 8 MiB", func(c *observe.Config) { c.Ring = 8 << 20 }},
	} {
		b.Run(c.name, func(b *testing.B) {
			x := open(b, netnsenv.Config{Silent: true, NoPath: true}, c.change, func(c *observe.Config) { c.MaxFrames = 1 << 30 })
			link, p := x.env.Links()[0], inject.SYN(web)
			n := 0
			for b.Loop() {
				if _, err := link.Write(p); err != nil {
					b.Fatal(err)
				}
				if n++; n%256 == 0 {
					x.o.Drain()
				}
			}
			b.StopTimer()
			if err := lastError(x.o.Frames(b.Context())); err != nil && !errors.Is(err, errors.ErrUnsupported) {
				b.Error(err)
			}
		})
	}
}

func BenchmarkFrames(b *testing.B) {
	x := open(b, netnsenv.Config{Silent: true})
	x.sendSYNs(1000, web)
	for b.Loop() {
		if err := lastError(x.o.Frames(b.Context())); err != nil {
			b.Fatal(err)
		}
	}
}
