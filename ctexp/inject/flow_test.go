package inject_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

var (
	web = inject.Flow{
		Src: netip.MustParseAddrPort("198.18.0.2:10000"),
		Dst: netip.MustParseAddrPort("192.0.2.1:80"),
	}
	web6 = inject.Flow{
		Src: netip.MustParseAddrPort("[2001:db8::2]:10000"),
		Dst: netip.MustParseAddrPort("[2001:db8::1]:80"),
	}
	mixed = inject.Flow{Src: web.Src, Dst: web6.Dst}
)

func ExampleFlow() {
	web := inject.Flow{
		Src: netip.MustParseAddrPort("198.18.0.2:10000"),
		Dst: netip.MustParseAddrPort("192.0.2.1:80"),
	}
	fmt.Println(web)
	fmt.Println(web.Reverse())
	fmt.Println(web.Nth(5))
	// Output:
	// 198.18.0.2:10000 > 192.0.2.1:80
	// 192.0.2.1:80 > 198.18.0.2:10000
	// 198.18.0.2:10005 > 192.0.2.1:80
}

func TestTheTupleOfAPacketIsItsFlow(t *testing.T) {
	t.Parallel()
	for _, f := range []inject.Flow{web, web6} {
		tuple := f.UDP(nil).Tuple()
		got := inject.Flow{Src: tuple.Src, Dst: tuple.Dst}
		if diff := cmp.Diff(f, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
			t.Errorf("flow (-want +got):\n%s", diff)
		}
	}
}

func TestMappedAddressesAreIPv4(t *testing.T) {
	t.Parallel()
	f := inject.Flow{Src: netip.MustParseAddrPort("[::ffff:198.18.0.2]:10000"), Dst: web.Dst}
	if diff := cmp.Diff(inject.SYN(web), inject.SYN(f)); diff != "" {
		t.Errorf("SYN from %v (-want +got):\n%s", f, diff)
	}
}

// Each slip panics in the call that makes it, not while the sequence is sent.
func TestWrongCallsPanicInTheNameOfThePackage(t *testing.T) {
	t.Parallel()
	huge := make([]byte, 1<<16)
	calls := map[string]func(){
		"no addresses":       func() { inject.SYN(inject.Flow{}) },
		"mixed families":     func() { inject.SYN(mixed) },
		"mixed in sequence":  func() { inject.SYNs(1, mixed) },
		"mixed echo":         func() { inject.Echo(web.Src.Addr(), web6.Dst.Addr(), 1, 1, nil) },
		"negative number":    func() { web.Nth(-1) },
		"port overflow":      func() { web.Nth(55536) },
		"overflow in SYNs":   func() { inject.SYNs(55537, web) },
		"negative SYNs":      func() { inject.SYNs(-1, web) },
		"negative Repeat":    func() { inject.Repeat(-1, inject.SYN(web)) },
		"payload too large":  func() { web.UDP(huge) },
		"IPv6 payload, too":  func() { web6.UDP(huge) },
		"echo too large":     func() { inject.Echo(web.Src.Addr(), web.Dst.Addr(), 1, 1, huge) },
		"nil link":           func() { inject.New(nil) },
		"nil sequence":       func() { inject.New(&link{}).Send(t.Context(), nil) },
		"nil within another": func() { inject.Concat(nil) },
	}
	got := map[string]string{}
	for name, call := range calls {
		got[name] = panicOf(call)
	}
	want := map[string]string{
		"no addresses":       "inject: no packet from invalid IP to invalid IP: both addresses are needed",
		"mixed families":     "inject: no packet from 198.18.0.2 to 2001:db8::1: one is IPv4, one IPv6",
		"mixed in sequence":  "inject: no packet from 198.18.0.2 to 2001:db8::1: one is IPv4, one IPv6",
		"mixed echo":         "inject: no packet from 198.18.0.2 to 2001:db8::1: one is IPv4, one IPv6",
		"negative number":    "inject: flow number -1 is negative",
		"port overflow":      "inject: source port 10000 + 55536 is beyond 65535",
		"overflow in SYNs":   "inject: source port 10000 + 55536 is beyond 65535",
		"negative SYNs":      "inject: negative count -1",
		"negative Repeat":    "inject: negative count -1",
		"payload too large":  "inject: build packet: layer 0 (IPv4): length of 65564 bytes is more than 65535",
		"IPv6 payload, too":  "inject: build packet: layer 0 (IPv6): payload of 65544 bytes is longer than 65535",
		"echo too large":     "inject: build packet: layer 0 (IPv4): length of 65564 bytes is more than 65535",
		"nil link":           "inject: New of a nil Link",
		"nil sequence":       "inject: Send of a nil sequence",
		"nil within another": "inject: Concat of a nil sequence",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("panics (-want +got):\n%s", diff)
	}
}

func panicOf(call func()) (text string) {
	defer func() { text = fmt.Sprint(recover()) }()
	call()
	return ""
}

// A flow of a protocol has the tuple of its packets.
func TestTupleOfAFlowIsThatOfItsPackets(t *testing.T) {
	t.Parallel()
	for p, packet := range map[nf.Proto]inject.Packet{nf.TCP: inject.SYN(web), nf.UDP: web6.UDP(nil)} {
		flow := map[nf.Proto]inject.Flow{nf.TCP: web, nf.UDP: web6}[p]
		if got := flow.Tuple(p); got != packet.Tuple() {
			t.Errorf("%v: %v, want %v", p, got, packet.Tuple())
		}
	}
}
