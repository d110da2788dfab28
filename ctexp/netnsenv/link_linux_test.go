package netnsenv_test

import (
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

var kinds = []netnsenv.LinkKind{netnsenv.Tun, netnsenv.Veth}

var dual = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64")}

// The host answers an echo request on the link that it came by, at once, in both families.
func TestAnswersAreReadFromTheLink(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			e := open(t, netnsenv.Config{Links: []netnsenv.LinkConfig{{Kind: kind, Prefixes: dual}}})
			l := e.Links()[0]
			for _, pair := range [][2]string{{"198.18.0.2", "192.0.2.1"}, {"2001:db8:1::2", "2001:db8::1"}} {
				src, dst := netip.MustParseAddr(pair[0]), netip.MustParseAddr(pair[1])
				send(t, e, inject.Echo(src, dst, 1, 1, []byte("hello")))
				if err := l.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
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
			flow := inject.Flow{Src: netip.MustParseAddrPort("192.0.2.9:1000"), Dst: netip.MustParseAddrPort("198.51.100.9:80")}
			send(t, e, inject.SYN(flow))
			right := e.Link("right")
			if err := right.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
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

func TestStandInSaysWhatItStandsInFor(t *testing.T) {
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
