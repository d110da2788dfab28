package netnsenv_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/needs"
)

var kinds = []netnsenv.LinkKind{netnsenv.Tun, netnsenv.Veth}

var dual = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64")}

// The host replies to an echo request on the link on which it arrived, in both families.
func TestAnswersAreReadFromTheLink(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			e := open(t, netnsenv.Config{Links: []netnsenv.LinkConfig{{Kind: kind, Prefixes: dual}}})
			l := e.Links()[0]
			for _, pair := range [][2]string{{"198.18.0.2", "192.0.2.1"}, {"2001:db8:1::2", "2001:db8::1"}} {
				src, dst := netip.MustParseAddr(pair[0]), netip.MustParseAddr(pair[1])
				send(t, e, packet.Echo(src, dst, 1, 1, []byte("hello")))
				if err := l.SetReadDeadline(latest(t)); err != nil {
					t.Fatal(err)
				}
				buf := make([]byte, l.MTU())
				n, err := l.Read(buf)
				if err != nil {
					t.Fatal(err)
				}
				got, _ := nf.TupleOf(buf[:n])
				if got.Src.Addr() != dst || got.Dst.Addr() != src {
					t.Errorf("got %v", got)
				}
			}
			if err := l.SetReadDeadline(time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Read(make([]byte, 9)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("nothing to read: %v", err)
			}
		})
	}
}

// With two links and forwarding the Env is a router.
func TestTwoLinksMakeARouter(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			e := open(t, netnsenv.Config{
				Links: []netnsenv.LinkConfig{
					{Kind: kind, Name: "left", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}},
					{Kind: kind, Name: "right", Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")}},
				},
				Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
				Silent:  true,
			})
			flow := packet.Flow{Src: netip.MustParseAddrPort("192.0.2.9:1000"), Dst: netip.MustParseAddrPort("198.51.100.9:80")}
			send(t, e, packet.SYN(flow))
			right := e.Link("right")
			if err := right.SetReadDeadline(latest(t)); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 1500)
			n, err := right.Read(buf)
			if got, _ := nf.TupleOf(buf[:n]); err != nil || got.Src != flow.Src || got.Dst != flow.Dst {
				t.Errorf("got %v, %v", got, err)
			}
			if n := count(t, e); n != 1 {
				t.Errorf("%d entries, want 1", n)
			}
		})
	}
}

func TestVethInPlaceOfTunGivesTheReason(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	l := e.Links()[0]
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err == nil {
		f.Close()
	}
	if want := map[bool]netnsenv.LinkKind{true: netnsenv.Tun, false: netnsenv.Veth}[err == nil]; l.Kind() != want {
		t.Errorf("%v, while opening the tun device gives %v", l, err)
	}
}

// Packets with the mark of a link leave by it, to its own prefixes and by its routes; all others do not.
func TestMarkedPacketsLeaveByTheirLink(t *testing.T) {
	t.Parallel()
	same := prefixes("192.0.2.1/24")
	e := open(t, netnsenv.Config{Links: []netnsenv.LinkConfig{
		{Name: "main", Prefixes: same, Routes: prefixes("10.0.0.0/8")}, {Name: "marked", Mark: 7, Prefixes: same, Routes: prefixes("10.0.0.0/8")},
	}})
	got := map[string][]string{}
	for _, mark := range []int{0, 7} {
		for _, to := range [][4]byte{{192, 0, 2, 9}, {10, 1, 1, 1}} {
			if err := e.Do(func() error {
				fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					return err
				}
				defer unix.Close(fd)
				if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, mark); err != nil {
					return err
				}
				return unix.Sendto(fd, []byte("x"), 0, &unix.SockaddrInet4{Port: 9, Addr: to})
			}); err != nil {
				t.Fatalf("mark %d to %v: %v", mark, to, err)
			}
			for _, l := range e.Links() {
				if err := l.Fence(t.Context()); err != nil {
					t.Fatal(err)
				}
				buf := make([]byte, l.MTU())
				n, err := l.ReadNow(buf)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				tuple, _ := nf.TupleOf(buf[:n])
				got[l.Name()] = append(got[l.Name()], fmt.Sprintf("mark %d to %v", mark, tuple.Dst.Addr()))
			}
		}
	}
	want := map[string][]string{
		"main": {"mark 0 to 192.0.2.9", "mark 0 to 10.1.1.1"}, "marked": {"mark 7 to 192.0.2.9", "mark 7 to 10.1.1.1"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("packets by link (-want +got):\n%s", diff)
	}
}

// A route that the kernel refuses is an error with its link.
func TestRefusedRouteIsAnError(t *testing.T) {
	t.Parallel()
	needs.Check(t, checkOpen(t))
	for _, mark := range []uint32{0, 7} {
		_, err := netnsenv.Open(t.Context(), netnsenv.Config{Links: []netnsenv.LinkConfig{{
			Mark: mark, Prefixes: prefixes("192.0.2.1/24"), Routes: prefixes("2001:db8::/32"), // without IPv6
		}}})
		if want := `link "tun0": add route 2001:db8::/32: `; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("mark %d: got %v, want %q", mark, err, want)
		}
	}
}

// Packets that the host sends are read or counted as lost, and ReadNow does not block whatever the deadline is.
func TestLostPacketsAreCounted(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]netnsenv.LinkKind{"auto": netnsenv.Auto, "veth": netnsenv.Veth} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const sent = 1000
			e := open(t, netnsenv.Config{Links: []netnsenv.LinkConfig{{Kind: kind}}})
			l := e.Links()[0]
			host, err := e.ListenPacket(t.Context(), "udp4", "192.0.2.1:0")
			needs.Check(t, err)
			defer host.Close()
			for range sent { // answers would not do: the kernel leaves some out if it has many to send
				if _, err := host.WriteTo(nil, net.UDPAddrFromAddrPort(netip.MustParseAddrPort("198.18.0.2:9"))); err != nil {
					t.Fatal(err)
				}
			}
			read := uint64(0)
			buf := make([]byte, 1500)
			for {
				_, err := l.ReadNow(buf)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				read++
			}
			for range 2 { // it is a sum, however often it is asked for
				lost, err := l.Lost()
				if err != nil || lost == 0 || read+lost != sent {
					t.Errorf("of %d packets %d were read and %d lost (%v)", sent, read, lost, err)
				}
			}
			e.Close()
			if _, err := l.Lost(); !errors.Is(err, netnsenv.ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
			if _, err := l.ReadNow(buf); !errors.Is(err, netnsenv.ErrClosed) {
				t.Errorf("ReadNow after Close: %v", err)
			}
		})
	}
}

// The function that WriteBy calls gets the interface and the maximum number of frames, which with RPS is less than the
// backlog of a CPU.
func TestWriteByPassesInterfaceAndMaximum(t *testing.T) {
	t.Parallel()
	for mask, most := range map[string]int{"": 4096, "1": 256} {
		t.Run("mask "+mask, func(t *testing.T) {
			t.Parallel()
			e := open(t, netnsenv.Config{Links: []netnsenv.LinkConfig{{Kind: netnsenv.Veth}}, Sysctls: steer(t, mask)})
			l := e.Links()[0]
			type args struct {
				Name string
				Most int
			}
			var got args
			failed := errors.New("failed")
			n, err := l.WriteBy(func(ifindex, most int) (int, error) {
				i, err := net.InterfaceByIndex(ifindex)
				if err != nil {
					return 0, err
				}
				got = args{i.Name, most}
				return 0, failed
			})
			if n != 0 || err != failed {
				t.Errorf("%d, %v", n, err)
			}
			if diff := cmp.Diff(args{l.Name(), most}, got); diff != "" {
				t.Errorf("mask %q (-want +got):\n%s", mask, diff)
			}
		})
	}
}

func TestWriteByNeedsVeth(t *testing.T) {
	t.Parallel()
	e, err := netnsenv.Open(t.Context(), netnsenv.Config{Links: []netnsenv.LinkConfig{{Kind: netnsenv.Tun}}})
	needs.Check(t, err)
	defer e.Close()
	_, err = e.Links()[0].WriteBy(func(int, int) (int, error) { panic("called") })
	if err == nil || errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "netnsenv.Veth") {
		t.Errorf("error %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// batch returns n SYNs of different flows, numbered from first on.
func batch(first, n int) (packets [][]byte) {
	for p := range packet.SYNs(n, web.Nth(first)) {
		packets = append(packets, p)
	}
	return packets
}

// Concurrent batches of any size arrive completely, even if every CPU is busy or packets are steered to another CPU,
// whose backlog has room for a thousand.
func TestBatchesArriveCompletely(t *testing.T) {
	stop := keepBusy(t)
	defer stop()
	for _, kind := range kinds {
		for _, mask := range []string{"", "1"} {
			t.Run(kind.String()+"/"+mask, func(t *testing.T) {
				e := open(t, netnsenv.Config{Links: []netnsenv.LinkConfig{{Kind: kind}}, Silent: true, NoPath: true, Sysctls: steer(t, mask)})
				l := e.Links()[0]
				const writers, each, most = 4, 12_000, 10_000
				var wg sync.WaitGroup
				for w := range writers {
					wg.Go(func() {
						for n, size := range []int{0, 1, 64, 65, 1870, most} {
							if got, err := l.WriteBatch(batch(w*each, size)); got != size || err != nil {
								t.Errorf("batch %d: wrote %d of %d, %v", n, got, size, err)
							}
						}
					})
				}
				wg.Wait()
				if err := l.Fence(t.Context()); err != nil {
					t.Fatal(err)
				}
				arrived, err := l.Arrived()
				if arrived != writers*each || err != nil {
					t.Errorf("%d packets arrived, %v; want %d", arrived, err, writers*each)
				}
				if got := count(t, e); got != writers*most {
					t.Errorf("%d entries, want %d", got, writers*most)
				}
			})
		}
	}
}

func TestBatchEndsAtTheFirstError(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		e := open(t, netnsenv.Config{Links: []netnsenv.LinkConfig{{Kind: kind}}, Silent: true})
		l := e.Links()[0]
		packets := batch(0, 5)
		packets[3] = make([]byte, 70_000)
		n, err := l.WriteBatch(packets)
		if n != 3 || err == nil {
			t.Errorf("%v: wrote %d, %v; want 3 and an error", kind, n, err)
		}
		if err := l.Fence(t.Context()); err != nil {
			t.Errorf("%v: %v", kind, err)
		}
		if got := count(t, e); got != 3 {
			t.Errorf("%v: %d entries, want 3", kind, got)
		}
	}
}

func TestBatchToAClosedLinkFails(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		e := open(t, netnsenv.Config{Links: []netnsenv.LinkConfig{{Kind: kind}}})
		l := e.Links()[0]
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if n, err := l.WriteBatch(batch(0, 1)); n != 0 || !errors.Is(err, netnsenv.ErrClosed) {
			t.Errorf("%v: wrote %d, %v", kind, n, err)
		}
	}
}

func BenchmarkWriteBatch(b *testing.B) {
	for _, kind := range kinds {
		for _, size := range []int{1, 64} {
			b.Run(fmt.Sprint(kind, "/", size), func(b *testing.B) {
				l := open(b, netnsenv.Config{Links: []netnsenv.LinkConfig{{Kind: kind}}, Silent: true, NoPath: true}).Links()[0]
				packets := batch(0, size)
				b.ReportAllocs()
				for n := 0; n < b.N; n += size {
					if _, err := l.WriteBatch(packets); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// mtuFlows are flows from a peer to a socket of the host with the addresses dual.
var mtuFlows = map[nf.Family]packet.Flow{
	nf.IPv4: {Src: addrPort("198.18.0.2:1000"), Dst: addrPort("192.0.2.1:7")},
	nf.IPv6: {Src: addrPort("[2001:db8:1::2]:1000"), Dst: addrPort("[2001:db8::1]:7")},
}

// Packets up to the MTU go both ways on every kind of link. Larger ones are refused on the way in, and leave in fragments.
func TestBothEndsOfALinkObeyItsMTU(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		for _, mtu := range []int{1280, 1500, 9000, packet.MaxLength} {
			t.Run(fmt.Sprintf("%v/%d", kind, mtu), func(t *testing.T) {
				t.Parallel()
				e := open(t, netnsenv.Config{Links: []netnsenv.LinkConfig{{Kind: kind, MTU: mtu, Prefixes: dual}}})
				l := e.Links()[0]
				for family, flow := range mtuFlows {
					socket, err := e.ListenPacket(t.Context(), "udp", flow.Dst.String())
					if err != nil {
						t.Fatal(err)
					}
					if err := socket.SetDeadline(latest(t)); err != nil {
						t.Fatal(err)
					}
					buf := make([]byte, 2*packet.MaxLength)
					headers := len(flow.UDP(nil))
					for _, size := range []int{headers + 1, mtu - 1, mtu, mtu + 1} {
						payload := min(size, packet.MaxLength) - headers
						_, err := inject.New(l).Send(t.Context(), packet.Packets(flow.UDP(make([]byte, payload))))
						if size > mtu && mtu < packet.MaxLength {
							if !errors.Is(err, unix.EMSGSIZE) {
								t.Errorf("%v in, %d bytes: %v, want %v", family, size, err, unix.EMSGSIZE)
							}
						} else if n, _, rerr := socket.ReadFrom(buf); n != payload || err != nil || rerr != nil {
							t.Errorf("%v in, %d bytes: %d bytes of %d came: %v, %v", family, size, n, payload, err, rerr)
						}
						if _, err := socket.WriteTo(make([]byte, payload), net.UDPAddrFromAddrPort(flow.Src)); err != nil {
							t.Fatalf("%v out, %d bytes: %v", family, size, err)
						}
						if got := datagram(t, l); got != payload+8 {
							t.Errorf("%v out, %d bytes: a datagram of %d left, want %d", family, size, got, payload+8)
						}
					}
				}
			})
		}
	}
}

// datagram reads the fragments of the next datagram and returns its size without the network headers.
func datagram(t *testing.T, l *netnsenv.Link) (size int) {
	t.Helper()
	if err := l.SetReadDeadline(latest(t)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2*packet.MaxLength)
	for {
		n, err := l.Read(buf)
		if err != nil || n > l.MTU() {
			t.Fatalf("%d bytes, with an MTU of %d: %v", n, l.MTU(), err)
		}
		v := header.Parse(buf[:n])
		size += n - v.Transport
		if !v.More {
			return size
		}
	}
}

// An MTU that is given for one end of a wire is that of both.
func TestEndsOfAWireHaveOneMTU(t *testing.T) {
	t.Parallel()
	for name, w := range map[string]netnsenv.Wire{
		"A":    {A: netnsenv.LinkConfig{MTU: 9000}},
		"B":    {B: netnsenv.LinkConfig{MTU: 9000}},
		"both": {A: netnsenv.LinkConfig{MTU: 9000}, B: netnsenv.LinkConfig{MTU: 9000}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := open(t, noLinks), open(t, noLinks)
			w.A.Prefixes, w.B.Prefixes = prefixes("10.0.0.1/24"), prefixes("10.0.0.2/24")
			join(t, a, b, w)
			from, err := a.ListenPacket(t.Context(), "udp", "10.0.0.1:7")
			if err != nil {
				t.Fatal(err)
			}
			to, err := b.ListenPacket(t.Context(), "udp", "10.0.0.2:7")
			if err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, packet.MaxLength)
			for _, way := range [][2]net.PacketConn{{from, to}, {to, from}} {
				if _, err := way[0].WriteTo(make([]byte, 8000), way[1].LocalAddr()); err != nil {
					t.Fatal(err)
				}
				if err := way[1].SetReadDeadline(latest(t)); err != nil {
					t.Fatal(err)
				}
				if n, _, err := way[1].ReadFrom(buf); n != 8000 || err != nil {
					t.Errorf("to %v: %d bytes, %v", way[1].LocalAddr(), n, err)
				}
			}
		})
	}
}
