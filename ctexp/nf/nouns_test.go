package nf_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func TestNounsPrintTheKernelsNames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		value fmt.Stringer
		want  string
	}{
		{nf.IPv4, "ipv4"}, {nf.IPv6, "ipv6"}, {nf.Family(0), "inet"}, {nf.Family(3), "family(3)"},
		{nf.Prerouting, "prerouting"}, {nf.Postrouting, "postrouting"}, {nf.Hook(9), "hook(9)"},
		{nf.TCP, "tcp"}, {nf.ICMPv6, "icmpv6"}, {nf.Proto(112), "unknown-112"},
		{nf.SynSent2, "SYN_SENT2"}, {nf.TCPNone, "NONE"}, {nf.TCPState(77), "STATE_77"},
		{nf.Confirmed | nf.SeenReply, "SEEN_REPLY,CONFIRMED"}, {nf.Status(0), ""}, {nf.Status(1<<15 | 1<<16 | 1<<20), "HW_OFFLOAD,BIT_16,BIT_20"},
		{nf.StateNew | nf.StateInvalid, "invalid,new"},
	} {
		if got := tt.value.String(); got != tt.want {
			t.Errorf("%#v: %q, want %q", tt.value, got, tt.want)
		}
	}
}

func TestFamilyOfAddresses(t *testing.T) {
	t.Parallel()
	for a, want := range map[netip.Addr]nf.Family{
		netip.MustParseAddr("192.0.2.1"):        nf.IPv4,
		netip.MustParseAddr("::ffff:192.0.2.1"): nf.IPv4,
		netip.MustParseAddr("2001:db8::1"):      nf.IPv6,
		{}:                                      0,
	} {
		if got := nf.FamilyOf(a); got != want {
			t.Errorf("%v: %v", a, got)
		}
	}
}

func TestStandardProbesHaveUniqueNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, p := range append(nf.PathProbes(nf.IPv4), nf.PathProbes(nf.IPv6)...) {
		if seen[p.Name] {
			t.Errorf("%q twice", p.Name)
		}
		seen[p.Name] = true
	}
	if !seen["raw/prerouting"] || !seen["ip6/raw/prerouting"] {
		t.Errorf("got %v", seen)
	}
	if got := (nf.Probe{Hook: nf.Input, Priority: -5, Family: nf.IPv6}).DefaultName(); got != "ip6/input@-5" {
		t.Errorf("a nameless probe is called %q", got)
	}
	for _, p := range nf.PathProbes(nf.IPv6) {
		if p.Family != nf.IPv6 {
			t.Errorf("%q is a probe of %v", p.Name, p.Family)
		}
	}
}

// The standard probes of a hook are in the order of their priorities.
func TestStandardProbesAreInOrder(t *testing.T) {
	t.Parallel()
	probes := nf.PathProbes(nf.IPv4)
	for i := 1; i < len(probes); i++ {
		a, b := probes[i-1], probes[i]
		if a.Hook > b.Hook || a.Hook == b.Hook && (a.Priority > b.Priority || a.Priority == b.Priority && !b.BehindConfirm()) {
			t.Errorf("%q is not before %q", a.Name, b.Name)
		}
	}
}

func TestStageIsTheFirstPartOfAProbesName(t *testing.T) {
	t.Parallel()
	for p, want := range map[nf.Probe]string{
		nf.RawPrerouting: "raw", nf.RawPrerouting.Of(nf.IPv6): "raw", nf.EndForward: "end", {Name: "mine"}: "mine", {}: "",
	} {
		if got := p.Stage(); got != want {
			t.Errorf("%q: %q, want %q", p.Name, got, want)
		}
	}
}

// What a probe asks of conntrack enables it.
func TestAsksConntrack(t *testing.T) {
	t.Parallel()
	for p, want := range map[nf.Probe]bool{
		{}: false, {Match: nf.Match{Proto: nf.TCP}}: false, {Mark: 7}: false, nf.RawPrerouting: false, nf.ConfirmedInput: true,
		{State: nf.StateInvalid}: true, {Status: 1}: true, {MarkMask: 1}: true, {Dir: nf.Original}: true, {Dir: nf.Reply}: true,
	} {
		if got := p.AsksConntrack(); got != want {
			t.Errorf("%+v: %v, want %v", p, got, want)
		}
	}
}

func TestBehindConntrack(t *testing.T) {
	t.Parallel()
	for p, want := range map[nf.Probe]bool{
		{Hook: nf.Prerouting, Priority: nf.PriorityConntrack}: false, {Hook: nf.Prerouting, Priority: nf.PriorityConntrack + 1}: true,
		nf.RawPrerouting: false, nf.ConntrackPrerouting: false, nf.ManglePrerouting: true,
		nf.FilterInput: true, nf.EndForward: true, nf.RawOutput: false, nf.EndOutput: false, nf.NATPostrouting: true,
	} {
		if p.BehindConntrack() != want {
			t.Errorf("%s: %v", p.Name, !want)
		}
	}
}

func TestUnsupportedErrorIsErrUnsupported(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("open: %w", &nf.UnsupportedError{Need: "/dev/net/tun", Hint: "make one", Err: fs.ErrPermission})
	if !errors.Is(err, errors.ErrUnsupported) || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%v is not unsupported, or has lost its cause", err)
	}
	if want := "open: needs /dev/net/tun: permission denied (make one)"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestTupleReverse(t *testing.T) {
	t.Parallel()
	echo := nf.Tuple{Proto: nf.ICMPv6, Src: netip.MustParseAddrPort("[2001:db8::2]:0"), Dst: netip.MustParseAddrPort("[2001:db8::1]:0"), ICMP: nf.ICMPTuple{Type: 128, ID: 3}}
	r := echo.Reverse()
	if r.ICMP.Type != 129 || r.Src != echo.Dst || r.Reverse() != echo {
		t.Errorf("%v turned round is %v", echo, r)
	}
}
