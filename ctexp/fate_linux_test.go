package ctexp_test

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/report"
)

// The words of a comment decide nothing: one rule drops one packet, for certain, whatever its author wrote beside it.
func TestCommentOfARuleIsNoPartOfTheDiagnosis(t *testing.T) {
	t.Parallel()
	for _, comment := range []string{"blocked, see ticket 7", "blocked; see ticket 7", "fragments and others", "dropped by a rule, one of; else"} {
		t.Run(comment, func(t *testing.T) {
			t.Parallel()
			x := ctexp.New(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{netnsenv.NFT(
				`table ip t { chain c { type filter hook input priority 0; tcp dport 80 counter drop comment "` + comment + `"; }; }`)}})
			x.Inject(packet.SYNs(1, web))

			type verdict struct {
				Lost    bool
				Kind    observe.CauseKind
				Certain bool
				Packets uint64
				Table   string
				Hook    nf.Hook
			}
			var got []verdict
			for _, f := range x.Fates() {
				for i, c := range f.Causes {
					got = append(got, verdict{f.Lost, c.Kind, c.Certain, c.Packets, c.Rule.Table, f.Places[i].Hook})
				}
				if why := f.Places[0].Why(); f.Why() != why {
					t.Errorf("beside the frame %q, in the path %q", f.Why(), why)
				}
			}
			if diff := ctexp.Diff([]verdict{{true, observe.CauseRule, true, 1, "t", nf.Input}}, got); diff != "" {
				t.Errorf("why the SYN was lost (-want +got):\n%s", diff)
			}
		})
	}
}

// A rule that has counted fewer packets than were lost is no cause of all of them, if another there drops without a
// counter.
func TestCountedRuleIsNotBlamedForAnother(t *testing.T) {
	t.Parallel()
	for name, rules := range map[string]string{
		"rule":   "policy accept; tcp dport 80 drop; tcp dport 82 counter drop",
		"policy": "policy drop; tcp dport 82 counter drop; tcp dport 81 accept",
		"map":    "policy accept; tcp dport 82 counter drop; tcp dport vmap { 80 : drop, 81 : accept }",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := ctexp.New(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{netnsenv.NFT(
				"table ip t { chain c { type filter hook input priority 0; " + rules + "; }; }")}})
			for _, port := range []uint16{80, 81, 82} {
				flow := web
				flow.Dst = netip.AddrPortFrom(web.Dst.Addr(), port)
				x.Inject(packet.SYNs(1, flow))
			}
			var got []string
			for _, l := range x.Path().Losses() {
				for _, c := range l.Causes {
					got = append(got, fmt.Sprintf("%d lost: %v %t %d", l.Lost, c.Kind, c.Certain, c.Packets))
				}
			}
			if diff := ctexp.Diff([]string{"2 lost: rule true 1", "2 lost: rule false 0"}, got); diff != "" {
				t.Errorf("causes (-want +got):\n%s", diff)
			}
			for _, f := range x.Fates() {
				if port := f.Frame.Tuple().Dst.Port(); f.Lost && (port == 81 || len(f.Causes) != 2) {
					t.Errorf("port %d: %v", port, f)
				}
			}
		})
	}
}

// A Fate has place and cause of a loss as values that a test can compare.
func TestFatesAreValues(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true, Room: netnsenv.Free(1)})
	x.Inject(packet.SYNs(2, web))

	fates := x.Fates()
	if len(fates) != 2 || fates[0].Lost || fates[0].State != "NEW SYN_SENT" {
		t.Fatalf("the first of two SYNs into a table with room for one: %v", fates)
	}
	if f := fates[1]; !f.Lost || !f.NoEntry || len(f.Causes) != 1 || f.Causes[0].Kind != observe.CauseTableFull {
		t.Errorf("the second: %v", f)
	}
}

// result returns what result.json of an experiment has.
func result(t *testing.T, x *ctexp.Experiment) report.Data {
	t.Helper()
	dir := t.TempDir()
	_, err := x.WriteReport(t.Context(), dir, "X")
	ctexp.Require(t, "write", err)
	b, err := os.ReadFile(filepath.Join(dir, "X.result.json"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := report.ReadJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A result has the sysctls that were changed, and by whom.
func TestResultHasTheSysctls(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Sysctls: map[string]string{"net.ipv4.tcp_ecn": "1"}})
	want := report.Sysctl{Name: "net.ipv4.tcp_ecn", Before: "2", After: "1", By: string(netnsenv.ByConfig)}
	if got := result(t, x).Sysctls; !slices.Contains(got, want) {
		t.Errorf("%+v lack %+v", got, want)
	}
}

// What became of each packet stands beside it where that is certain, and nothing where it is not.
func TestFatesStandBesideThePackets(t *testing.T) {
	t.Parallel()
	ofRST := "invalid new"
	if !kernel.InvalidNewLogged.Here() {
		ofRST = observe.NoReason
	}
	six := packet.Flow{Src: netip.MustParseAddrPort("[2001:db8::2]:1000"), Dst: netip.MustParseAddrPort("[2001:db8::1]:80")}
	syn, udp, far := packet.SYN(web), web.UDP(nil), packet.SYN(packet.Flow{Src: web.Src, Dst: netip.MustParseAddrPort("203.0.113.1:80")})
	reply := packet.EchoReply(web.Src.Addr(), web.Dst.Addr(), 7, 1, nil)
	const byRule = "dropped; no entry; dropped by nft inet u in: tcp dport 80 counter drop [packets %d bytes %d]"
	drop := netnsenv.NFT("table inet u { chain in { type filter hook input priority 0; tcp dport 80 counter drop; }; }")
	for name, c := range map[string]struct {
		rules   []netnsenv.Ruleset
		packets []packet.Packet
		want    []string
	}{
		"all of them":            {[]netnsenv.Ruleset{drop}, []packet.Packet{syn, packet.SYN(web.Nth(1))}, []string{fmt.Sprintf(byRule, 2, 80), fmt.Sprintf(byRule, 2, 80)}},
		"all of a family":        {[]netnsenv.Ruleset{netnsenv.NFT("table ip6 u { chain in { type filter hook input priority 0; tcp dport 80 counter drop; }; }")}, []packet.Packet{packet.SYN(six), syn}, []string{"dropped; no entry; dropped by nft ip6 u in: tcp dport 80 counter drop [packets 1 bytes 60]", "NEW SYN_SENT"}},
		"those without an entry": {[]netnsenv.Ruleset{drop}, []packet.Packet{syn, udp, reply}, []string{fmt.Sprintf(byRule, 1, 40), "NEW", "INVALID; the kernel gives no reason"}},
		"of a known flow":        {[]netnsenv.Ruleset{netnsenv.NFT("table ip u { chain in { type filter hook input priority 0; udp length 9 drop; }; }")}, []packet.Packet{udp, web.UDP([]byte("x"))}, []string{"NEW", "of a known flow"}},
		"untracked ones":         {[]netnsenv.Ruleset{drop, netnsenv.NFT("table ip v { chain pre { type filter hook prerouting priority raw; udp dport 80 notrack; }; }")}, []packet.Packet{syn, udp}, []string{"no entry", "no entry"}},
		"two causes":             {[]netnsenv.Ruleset{drop}, []packet.Packet{syn, far, udp}, []string{"dropped; no entry; at one of 2 places: see the path", "dropped; no entry; at one of 2 places: see the path", "NEW"}},
		"headers":                {[]netnsenv.Ruleset{drop}, []packet.Packet{udp.With(packet.HeaderChecksum(7)), udp.With(packet.Truncate(26)), syn, udp}, []string{"dropped; a bad checksum of the IP header", "dropped; fewer bytes than the IP header says", fmt.Sprintf(byRule, 1, 40), "NEW"}},
		"invalid and dropped":    {[]netnsenv.Ruleset{drop}, []packet.Packet{web.TCP(packet.TCP{Flags: packet.FlagRST})}, []string{"dropped; INVALID; " + ofRST + "; dropped by nft inet u in: tcp dport 80 counter drop [packets 1 bytes 40]"}},
		"invalid, by a rule":     {[]netnsenv.Ruleset{netnsenv.NFT("table ip u { chain in { type filter hook input priority 0; ct state invalid counter drop; }; }")}, []packet.Packet{reply, udp}, []string{"dropped; INVALID; the kernel gives no reason; dropped by nft ip u in: ct state invalid counter drop [packets 1 bytes 28]", "NEW"}},
		"invalid, untracked":     {[]netnsenv.Ruleset{netnsenv.NFT("table ip u { chain pre { type filter hook prerouting priority raw; udp dport 80 notrack; }; chain in { type filter hook input priority 0; ct state invalid drop; }; }")}, []packet.Packet{reply, udp}, []string{"INVALID; the kernel gives no reason", "no entry"}},
		"at ingress":             {[]netnsenv.Ruleset{netnsenv.NFT("table netdev u { chain in { type filter hook ingress device tun0 priority 0; tcp dport 80 counter drop; }; }")}, []packet.Packet{syn, udp}, []string{"dropped; no entry; dropped by nft netdev u in: tcp dport 80 counter drop [packets 1 bytes 40]", "NEW"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := ctexp.New(t, netnsenv.Config{
				Links:  []netnsenv.LinkConfig{{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64")}}},
				Silent: true, Rules: c.rules,
			})
			x.Inject(packet.Packets(c.packets...))
			var got []string
			for _, f := range result(t, x).Frames {
				got = append(got, f.Comment())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What the kernel has counted of packets that met no hook is in the result, and the loss with it.
func TestResultHasWhatMetNoHook(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Links: veth, Silent: true})
	x.Inject(packet.Packets(packet.SYN(web).With(packet.HeaderChecksum(7)), web.UDP(nil)))
	got := result(t, x).Path
	got.Points = nil
	want := report.Path{
		Losses: []report.Loss{{Family: "ipv4", Hook: "ingress", From: []string{"link/ingress"}, To: []string{"defrag/prerouting"}, Lost: 1, Of: 2,
			Causes: []report.Cause{{Kind: "header checksum", Certain: true, Packets: 1, Counter: "IpExtInCsumErrors"}}, Why: "a bad checksum of the IP header (IpExtInCsumErrors +1)"}},
		Silenced: 1,
		Arrived:  []report.Count{{Name: "ipv4", N: 2}},
		MIB:      []report.Count{{Name: "IpExtInCsumErrors", N: 1}, {Name: "IpInHdrErrors", N: 1}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What leaves the host and is too large for the other end of the link is lost, and is said to be.
func TestWhatTheFarEndDoesNotTakeIsLost(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Links: veth})
	link := x.Env.Links()[0]
	ctexp.Require(t, "raise the MTU of the host's end", x.Env.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		req, err := unix.NewIfreq(link.Name())
		if err != nil {
			return err
		}
		req.SetUint32(9000)
		return unix.IoctlIfreq(fd, unix.SIOCSIFMTU, req)
	}))
	socket, err := x.Env.ListenPacket(t.Context(), "udp", web.Dst.String())
	ctexp.Require(t, "listen", err)
	_, err = socket.WriteTo(make([]byte, 8000), net.UDPAddrFromAddrPort(web.Src))
	ctexp.Require(t, "send", err)

	type verdict struct {
		Dir  packet.Dir
		Lost bool
		Kind observe.CauseKind
		Link string
	}
	var got []verdict
	for _, f := range x.Fates() {
		for _, c := range f.Causes {
			got = append(got, verdict{f.Frame.Dir, f.Lost, c.Kind, c.Link})
		}
	}
	if diff := ctexp.Diff([]verdict{{packet.Out, true, observe.CauseFarEnd, link.Name()}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s\n%v", diff, x.Path())
	}
}

// A packet for which NAT has no port left is not said to have met a full table.
func TestNoPortLeftIsNoFullTable(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"}, Silent: true,
		Rules: []netnsenv.Ruleset{netnsenv.NFT("table ip t { chain o { type nat hook postrouting priority srcnat; meta l4proto udp masquerade to :40000-40000; }; }")},
	})
	to := packet.Flow{Src: web.Src, Dst: netip.MustParseAddrPort("203.0.113.1:53")}
	x.Inject(packet.Packets(to.UDP(nil), to.Nth(1).UDP(nil)))
	for _, f := range x.Fates() {
		for _, c := range f.Causes {
			if c.Kind == observe.CauseTableFull {
				t.Errorf("%v: %v", f.Frame, f)
			}
		}
	}
	if l := x.Path().Losses(); len(l) != 1 || l[0].Causes[0].Kind != observe.CauseInsertFailed || l[0].Lost != 1 {
		t.Errorf("losses %v, want one of a packet whose entry could not be inserted", l)
	}
}
