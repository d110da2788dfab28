package dropreason_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/observe/dropreason"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
)

func link(prefix string) netnsenv.LinkConfig {
	return netnsenv.LinkConfig{Prefixes: []netip.Prefix{netip.MustParsePrefix(prefix)}}
}

// broken returns a copy of p with one byte changed.
func broken(p packet.Packet, at int) packet.Packet {
	p = append(packet.Packet(nil), p...)
	p[at] ^= 0xff
	return p
}

// Packets that the kernel drops without a rule have a named reason.
func TestKernelNamesWhyItDropsAPacket(t *testing.T) {
	t.Parallel()
	strict := map[string]string{"net.ipv4.conf.all.rp_filter": "1"}
	two := []netnsenv.LinkConfig{link("192.0.2.1/24"), link("198.51.100.1/24")}
	drop := netnsenv.NFT("table ip user { chain in { type filter hook input priority 0; tcp dport 80 drop; }; }")
	elsewhere := web
	elsewhere.Dst = netip.MustParseAddrPort("203.0.113.9:80")
	spoofed := web
	spoofed.Src = netip.MustParseAddrPort("192.0.2.7:10000")
	for name, c := range map[string]struct {
		cfg    netnsenv.Config
		by     string
		packet packet.Packet
		want   string
	}{
		"a port that nobody listens on, TCP": {netnsenv.Config{}, "tun0", packet.SYN(web), "NO_SOCKET"},
		"a port that nobody listens on, UDP": {netnsenv.Config{}, "tun0", web.UDP([]byte("x")), "NO_SOCKET"},
		"a rule":                             {netnsenv.Config{Rules: []netnsenv.Ruleset{drop}}, "tun0", packet.SYN(web), "NETFILTER_DROP"},
		"a source behind another link":       {netnsenv.Config{Links: two, Sysctls: strict}, "tun1", packet.SYN(spoofed), "IP_RPFILTER"},
		"a checksum of IP":                   {netnsenv.Config{}, "tun0", broken(packet.SYN(web), 10), "IP_CSUM"},
		"a checksum of TCP":                  {netnsenv.Config{}, "tun0", broken(packet.SYN(web), 36), "TCP_CSUM"},
		"a packet for somebody else":         {netnsenv.Config{Links: two}, "tun0", packet.SYN(elsewhere), "IP_INADDRERRORS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.cfg.Silent = c.want != "NO_SOCKET"
			x := open(t, c.cfg)

			x.send(c.by, c.packet)

			type drop struct{ Reason, Link, Packet string }
			want := []drop{{c.want, c.by, c.packet.String()}}
			var got []drop
			for _, d := range x.drops() {
				if d.Function == "" && needs.On(needs.Require) {
					t.Errorf("%v: in which function?", d)
				}
				got = append(got, drop{d.Reason, d.Link, packet.Packet(d.Packet).String()})
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Accepted packets and drops in other namespaces are not recorded.
func TestOnlyDropsInTheNamespaceAreRecorded(t *testing.T) {
	t.Parallel()
	x, other := open(t, netnsenv.Config{}), open(t, netnsenv.Config{})
	conn, err := x.env.ListenPacket(t.Context(), "udp", web.Dst.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	x.send("tun0", web.UDP([]byte("hello")))
	other.send("tun0", packet.SYN(web))

	if got := x.drops(); len(got) != 0 {
		t.Errorf("dropped: %v", got)
	}
	if got := other.drops(); len(got) != 1 {
		t.Errorf("dropped elsewhere: %v, want one SYN", got)
	}
}

// A packet without a device belongs to the namespace of its socket.
func TestDropsOfTheHostsOwnPackets(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Rules: []netnsenv.Ruleset{
		netnsenv.NFT("table ip user { chain out { type filter hook output priority 0; udp dport 53 drop; }; }"),
	}})
	conn, err := x.env.Dial(t.Context(), "udp", "198.18.0.2:53")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = conn.Write([]byte("hello")) // "operation not permitted", says the kernel

	got := x.drops()
	if len(got) != 1 || got[0].Reason != "NETFILTER_DROP" || got[0].Link != "" || packet.Packet(got[0].Packet).Tuple().Dst.Port() != 53 {
		t.Errorf("dropped: %v", got)
	}
}

func TestDropsOfIPv6(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Links: []netnsenv.LinkConfig{link("2001:db8::1/64")}})
	p := packet.Flow{Src: netip.MustParseAddrPort("[2001:db8::2]:10000"), Dst: netip.MustParseAddrPort("[2001:db8::1]:53")}.UDP([]byte("x"))
	x.send("tun0", p)
	got := x.drops()
	if len(got) != 1 || got[0].Reason != "NO_SOCKET" || string(got[0].Packet) != string(p) {
		t.Errorf("dropped: %v, want %v for want of a socket", got, p)
	}
}

// Only the beginning of a long packet is recorded.
func TestLongPacketsAreTruncated(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{})
	p := web.UDP(make([]byte, 1000))
	x.send("tun0", p)
	got := x.drops()
	if len(got) != 1 || string(got[0].Packet) != string(p[:128]) {
		t.Errorf("dropped: %v", got)
	}
}

// Drops for which the ring was full are reported by their number.
func TestLostDropsAreCounted(t *testing.T) {
	t.Parallel()
	env, err := netnsenv.Open(t.Context(), netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{
		netnsenv.NFT("table ip user { chain in { type filter hook input priority 0; drop; }; }"),
	}})
	needs.Check(t, err)
	defer env.Close()
	w, err := dropreason.OpenWith(env, 4096)
	needs.Check(t, err)
	defer w.Close()
	release := dropreason.Hold(w)
	const sent = 1000
	if _, err := inject.New(env.Links()[0]).Send(t.Context(), packet.SYNs(sent, web)); err != nil {
		t.Fatal(err)
	}
	release()
	n := 0
	var last error
	for d, err := range w.Drops(t.Context()) {
		if last = err; err == nil && d.Reason == "NETFILTER_DROP" {
			n++
		}
	}
	want := fmt.Sprintf("dropreason: reasons of dropped packets were lost: %d because the ring was full, 0 beyond the first 250000", sent-n)
	if n == 0 || !errors.Is(last, dropreason.ErrLost) || last.Error() != want {
		t.Errorf("%d drops, then %v\nwant %s", n, last, want)
	}
}

// Drops are available after Close, because the report of a failed test is written at its end.
func TestDropsAfterClose(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{})
	p := web.UDP([]byte("x"))
	x.send("tun0", p)

	if err := errors.Join(x.w.Close(), x.w.Close()); err != nil {
		t.Fatal(err)
	}
	x.send("tun0", p) // and nobody looks

	if got := x.drops(); len(got) != 1 || string(got[0].Packet) != string(p) {
		t.Errorf("dropped: %v, want one datagram", got)
	}
}

func TestDropsOfAContextThatIsOver(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{})
	over, cancel := context.WithCancel(t.Context())
	cancel()
	var last error
	for _, err := range x.w.Drops(over) {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("cancelled: %v", last)
	}
}

type noNamespace struct{}

func (noNamespace) FD() int { return -1 }

func TestOpenWithoutNamespaceFails(t *testing.T) {
	t.Parallel()
	if _, err := dropreason.Open(noNamespace{}); err == nil || errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("error %v", err)
	}
}

// BenchmarkDropped measures the cost of a Watcher to a flood of dropped packets.
func BenchmarkDropped(b *testing.B) {
	for name, watched := range map[string]bool{"watched": true, "not": false} {
		b.Run(name, func(b *testing.B) {
			env, err := netnsenv.Open(b.Context(), netnsenv.Config{NoPath: true, Silent: true, Rules: []netnsenv.Ruleset{
				netnsenv.NFT("table ip user { chain raw { type filter hook prerouting priority -300; drop; }; }"),
			}})
			needs.Check(b, err)
			defer env.Close()
			if watched {
				w, err := dropreason.Open(env)
				needs.Check(b, err)
				defer w.Close()
			}
			const packets = 10_000
			in := inject.New(env.Links()[0])
			for b.Loop() {
				if _, err := in.Send(b.Context(), packet.SYNs(packets, web)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(packets*b.N)/b.Elapsed().Seconds(), "packets/s")
		})
	}
}

// BenchmarkOpen measures Open and Close.
func BenchmarkOpen(b *testing.B) {
	env, err := netnsenv.Open(b.Context(), netnsenv.Config{})
	needs.Check(b, err)
	defer env.Close()
	for b.Loop() {
		w, err := dropreason.Open(env)
		needs.Check(b, err)
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
