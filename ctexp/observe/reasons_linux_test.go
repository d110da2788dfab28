package observe_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/needs"
)

func (l lab) reasons() []observe.Reason {
	l.Helper()
	var reasons []observe.Reason
	for r, err := range l.o.Reasons(l.Context()) {
		if err != nil {
			needs.Check(l, err)
		}
		reasons = append(reasons, r)
	}
	return reasons
}

func TestReasonsOfBothFamiliesAndOfTheHostItself(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Links: []netnsenv.LinkConfig{{Prefixes: prefixes("192.0.2.1/24", "2001:db8::1/64")}}})
	x.send(web.TCP(packet.TCP{Seq: 1}), web6.TCP(packet.TCP{Seq: 1}))
	link := "tun0"
	if !kernel.ReasonLink.Here() {
		link = ""
	}
	var got []string
	for _, r := range x.reasons() {
		tuple := packet.Packet(r.Packet).Tuple()
		got = append(got, fmt.Sprintf("%s %v %v %s", r.Link, tuple.Family(), tuple.Src.Port(), r.Text))
	}
	want := []string{ // the host answers with a RST, the first packet of a flow
		link + " ipv4 10000 invalid tcp flag combination", link + " ipv4 80 invalid new",
		link + " ipv6 10000 invalid tcp flag combination", link + " ipv6 80 invalid new",
	}
	if !kernel.InvalidNewLogged.Here() {
		want = []string{want[0], want[2]}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	of, rest := observe.ReasonsOf(x.captured(), x.reasons())
	beside := 0
	for _, r := range of {
		beside += len(r)
	}
	if beside != len(want) || len(rest) != 0 {
		t.Errorf("%d beside their frames, without one %v", beside, rest)
	}
}

// What is not supported is named, and is not an error of anything else.
func TestReasonsThatAreMissingSayWhy(t *testing.T) {
	t.Parallel()
	t.Run("not asked for", func(t *testing.T) {
		t.Parallel()
		x := open(t, netnsenv.Config{NoReasons: true}, func(c *observe.Config) { c.NoFrames = true })
		err := lastError(x.o.Reasons(t.Context()))
		if !errors.Is(err, observe.ErrOff) || !strings.Contains(err.Error(), "nf_conntrack_log_invalid is 0") {
			t.Errorf("got %v", err)
		}
		if _, err := x.o.Path(t.Context()); err != nil {
			t.Errorf("path: %v", err)
		}
	})
	t.Run("another logger", func(t *testing.T) {
		t.Parallel()
		x := open(t, netnsenv.Config{Sysctls: map[string]string{"net.netfilter.nf_log.2": "NONE", "net.netfilter.nf_log.10": "NONE"}})
		err := lastError(x.o.Reasons(t.Context()))
		if !errors.Is(err, observe.ErrOff) || !strings.Contains(err.Error(), "nf_log.2 is NONE") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("another reader", func(t *testing.T) {
		t.Parallel()
		x := open(t, netnsenv.Config{})
		second, err := observe.Open(t.Context(), x.env, configOf(x.env))
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		err = lastError(second.Reasons(t.Context()))
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "NFLOG group 0") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("closed", func(t *testing.T) {
		t.Parallel()
		x := open(t, netnsenv.Config{})
		if err := x.o.Close(); err != nil {
			t.Fatal(err)
		}
		if err := lastError(x.o.Reasons(t.Context())); !errors.Is(err, os.ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

// The NFLOG group is free again as soon as an Observer is closed.
func TestNextObserverReadsReasons(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	for range 5 {
		if err := x.o.Close(); err != nil {
			t.Fatal(err)
		}
		o, err := observe.Open(t.Context(), x.env, configOf(x.env))
		if err != nil {
			t.Fatal(err)
		}
		x.o = o
		x.send(client(fin|syn, 1, 0, 0))
		if got := x.reasons(); len(got) != 1 {
			t.Errorf("got %v", got)
		}
	}
	if err := x.o.Close(); err != nil {
		t.Error(err)
	}
}

// LOG and NFLOG rules of the user log to the same group. Their messages are not reasons.
func TestLogRulesOfTheUserAreNoReasons(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{netnsenv.NFT(`table ip u {
	chain in { type filter hook input priority 0; log prefix "hello "; log prefix "nf_ct_proto_x: " group 0; }
}`)}})
	x.send(packet.SYN(web), client(fin|syn, 1, 0, 0))
	if got := x.reasons(); len(got) != 1 || got[0].Text != "invalid tcp flag combination" {
		t.Errorf("got %v", got)
	}
}

// A full buffer is an error that says how many reasons are missing.
func TestLostReasonsAreCounted(t *testing.T) {
	t.Parallel()
	const n = 20_000
	x := open(t, netnsenv.Config{Silent: true}, func(c *observe.Config) { c.NoFrames = true })
	if err := lastError(x.o.Reasons(t.Context())); err != nil {
		needs.Check(t, err)
	}
	observe.ShrinkReasons(x.o)
	release := observe.HoldReasons(x.o)
	if _, err := inject.New(x.env.Links()[0]).Send(t.Context(), packet.Repeat(n, client(fin|syn, 1, 0, 0))); err != nil {
		t.Fatal(err)
	}
	release()
	x.o.Drain() // what there is room for again is heard
	x.send(client(fin|syn, 1, 0, 0))
	got := 0
	var last error
	for _, err := range x.o.Reasons(t.Context()) {
		if last = err; err == nil {
			got++
		}
	}
	want := fmt.Sprintf("%d found the receive buffer full", n+1-got)
	if !errors.Is(last, observe.ErrReasonsLost) || !strings.Contains(last.Error(), want) || got < 2 {
		t.Errorf("got %d, then %v; want %q", got, last, want)
	}
}

// Each of thousands of INVALID packets, drained as Lab.Inject does it, has its reason.
func TestReasonsOfAFlood(t *testing.T) {
	t.Parallel()
	const n = 20_000
	x := open(t, netnsenv.Config{Silent: true})
	_, err := inject.New(x.env.Links()[0]).Send(t.Context(), func(yield func(packet.Packet) bool) {
		for i := range n {
			if i%256 == 0 {
				x.o.Drain()
			}
			if !yield(client(fin|syn, uint32(i%100), 0, 0)) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	of, rest := observe.ReasonsOf(x.captured(), x.reasons())
	beside := 0
	for _, r := range of {
		if len(r) == 1 {
			beside++
		}
	}
	if beside != n || len(rest) != 0 {
		t.Errorf("%d of %d frames have their reason, %d reasons have no frame", beside, n, len(rest))
	}
	if s := x.path().Reasons; len(s) != 1 || s[0].Packets != n {
		t.Errorf("the path says %v", s)
	}
}

// The cost of reasons during a flood of INVALID packets.
func BenchmarkReasons(b *testing.B) {
	p := client(fin|syn, 1, 0, 0)
	for name, without := range map[string]bool{"with": false, "without": true} {
		b.Run(name, func(b *testing.B) {
			x := open(b, netnsenv.Config{Silent: true, NoReasons: without}, func(c *observe.Config) { c.NoFrames = true })
			for i := 0; b.Loop(); i++ {
				if i%256 == 0 {
					x.o.Drain()
				}
				if _, err := x.env.Links()[0].Write(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// beginNothing are flags of TCP packets with which no flow begins.
var beginNothing = []packet.TCPFlags{rst, rst | ack, syn | ack, fin | ack}

// Each packet that conntrack logs something about has its reason.
func TestReasonBelongsToItsPacket(t *testing.T) {
	t.Parallel()
	udp := web.UDP([]byte("payload"))
	tcp := client(ack, 1001, 5001, 100)
	far := web.Src.Addr().Next()
	const longAgo = 1<<32 + 5001 - 70000 // more than the 66,000 bytes before what the server sends that an ACK may be late
	beyond, below, belowACK := `\d+ bytes more than expected`, `SEQ is under lower bound.*`, `ignored ACK under lower bound.*`
	ignored := func(index, dir int, state string) string {
		return fmt.Sprintf(`packet \(index %d\) in dir %d ignored, state %s`, index, dir, state)
	}
	passes := kernel.BesideWindowPasses.Here()
	if !passes {
		beyond, below, belowACK = `SEQ is over the upper bound.*`, `SEQ is under the lower bound.*`, `ACK is under the lower bound.*`
		ignored = func(_, _ int, state string) string { return "invalid packet ignored in state " + state }
	}
	cases := map[string]struct {
		packets []packet.Packet // the last is the one in question
		proto   nf.Proto
		want    string // the whole text
		passed  bool
	}{
		"far over the window":          {with(handshake, client(psh|ack, 70000, 5001, 10)), nf.TCP, `SEQ is over (the )?upper bound.*\(over the window of the receiver\)`, false},
		"beyond the right edge":        {with(handshake, client(psh|ack, 2500, 5001, 10)), nf.TCP, beyond, passes},
		"under the lower bound":        {with(append(handshake[:3:3], client(psh|ack, 1001, 5001, 500), server(ack, 5001, 1501, 0), client(psh|ack, 1501, 5001, 900), server(ack, 5001, 2401, 0), client(psh|ack, 2401, 5001, 900), server(ack, 5001, 3301, 0)), client(psh|ack, 1001, 5001, 10)), nf.TCP, below, passes},
		"ACK under the lower bound":    {with(handshake, client(ack, 1001, longAgo, 0)), nf.TCP, belowACK, passes},
		"ACK of what was not sent":     {with(handshake, client(ack, 1001, 9000, 0)), nf.TCP, `ACK is over (the )?upper bound.*\(ACKed data not seen yet\)`, false},
		"RST below":                    {with(handshake, client(rst, 900, 0, 0)), nf.TCP, `invalid rst`, false},
		"SYN on ESTABLISHED":           {with(handshake, client(syn, 90000, 0, 0)), nf.TCP, ignored(0, 0, "ESTABLISHED"), true},
		"challenge ACK in SYN_SENT":    {with(handshake[:1], server(ack, 7000, 800, 0)), nf.TCP, ignored(3, 1, "SYN_SENT"), true},
		"bad TCP checksum":             {[]packet.Packet{damaged(tcp, 0, 36, 1, 2)}, nf.TCP, `bad checksum`, false},
		"bad UDP checksum":             {[]packet.Packet{damaged(udp, 0, 26, 1, 2)}, nf.UDP, `bad checksum`, false},
		"TCP data offset under 5":      {[]packet.Packet{damaged(tcp, 0, 32, 0x40)}, nf.TCP, `truncated packet`, false},
		"TCP data offset beyond":       {[]packet.Packet{damaged(tcp, 40, 32, 0xf0)}, nf.TCP, `truncated packet`, false},
		"UDP length 4":                 {[]packet.Packet{damaged(udp, 0, 24, 0, 4)}, nf.UDP, `truncated/malformed packet`, false},
		"UDP length beyond":            {[]packet.Packet{damaged(udp, 0, 24, 0, 200)}, nf.UDP, `truncated/malformed packet`, false},
		"UDP header cut":               {[]packet.Packet{damaged(udp, 26, 24, 0, 8)}, nf.UDP, `short packet`, false},
		"ICMP type 42":                 {[]packet.Packet{icmp(web.Src.Addr(), web.Dst.Addr(), 42, 0, nil)}, nf.ICMP, `invalid icmp type`, false},
		"bad ICMP checksum":            {[]packet.Packet{damaged(icmp(web.Src.Addr(), web.Dst.Addr(), 8, 0, nil), 0, 22, 1, 2)}, nf.ICMP, `bad hw icmp checksum`, false},
		"short ICMP":                   {[]packet.Packet{damaged(icmp(web.Src.Addr(), web.Dst.Addr(), 8, 0, nil), 24, 20)}, nf.ICMP, `short packet`, false},
		"error in the wrong direction": {with(handshake, icmp(far, web.Dst.Addr(), 3, 3, handshake[0])), nf.ICMP, `outer daddr 192\.0\.2\.1 != inner 198\.18\.0\.2`, false},
	}
	first := []packet.TCPFlags{0, fin, fin | syn, syn | rst, psh, urg, fin | psh | urg, fin | syn | rst | psh | ack | urg}
	if kernel.InvalidNewLogged.Here() {
		first = append(first, beginNothing...)
	}
	for _, flags := range first {
		name := "first packet " + flags.String()
		cases[name] = struct {
			packets []packet.Packet
			proto   nf.Proto
			want    string
			passed  bool
		}{[]packet.Packet{client(flags, 1, 0, 0)}, nf.TCP, `invalid tcp flag combination|invalid new`, false}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := open(t, router())
			before, last := c.packets[:len(c.packets)-1], c.packets[len(c.packets)-1]
			x.talk(before...)
			if early := x.reasons(); len(early) != 0 {
				t.Fatalf("before the packet: %v", early)
			}
			x.talk(last)

			of, rest := observe.ReasonsOf(x.captured(), x.reasons())
			type beside struct {
				Packet string
				Proto  nf.Proto
				Link   string
				Passed bool
			}
			var got []beside
			for i, f := range x.captured() {
				for _, r := range of[i] {
					if !regexp.MustCompile("^(" + c.want + ")$").MatchString(r.Text) {
						t.Errorf("reason %q, want %q", r.Text, c.want)
					}
					if r.Time.Before(f.Time.Truncate(1000)) && r.Time.IsZero() {
						t.Errorf("reason of %v, packet of %v", r.Time, f.Time)
					}
					got = append(got, beside{packet.Packet(f.Packet).String(), r.Proto, r.Link, r.Passed()})
				}
			}
			link := "tun0"
			if last.Tuple().Src.Addr() == web.Dst.Addr() {
				link = "tun1"
			}
			if !kernel.ReasonLink.Here() {
				link = ""
			}
			want := []beside{{last.String(), c.proto, link, c.passed}}
			if diff := cmp.Diff(want, got); diff != "" || len(rest) != 0 {
				t.Errorf("the rest is %v (-want +got):\n%s", rest, diff)
			}
			if r, err := x.o.Record(t.Context()); err != nil || len(r.Unexplained) != 0 {
				t.Errorf("%v, without a reason: %v", err, r.Unexplained)
			}
			if s := x.path().String(); !strings.Contains(s, fmt.Sprintf("%v: ", c.proto)) || strings.Contains(s, "no reason") {
				t.Errorf("the path does not tell it:\n%s", s)
			}
		})
	}
}

// If the kernel calls a packet INVALID without a reason, the path says so.
func TestPathSaysThatTheKernelGivesNoReason(t *testing.T) {
	t.Parallel()
	unknown := packet.SYN(web.Nth(7))
	type unexplained struct {
		packets []packet.Packet
		sysctl  string
	}
	cases := map[string]unexplained{
		"TCP header under 20 bytes":   {[]packet.Packet{damaged(client(syn, 1, 0, 0), 36, 20)}, ""},
		"UDP under 4 bytes":           {[]packet.Packet{damaged(web.UDP(nil), 23, 20)}, ""},
		"stray ACK, strict":           {[]packet.Packet{client(ack, 1, 1, 0)}, "net.netfilter.nf_conntrack_tcp_loose"},
		"stray answer, strict":        {[]packet.Packet{server(psh|ack, 1, 1, 9)}, "net.netfilter.nf_conntrack_tcp_loose"},
		"unsolicited echo reply":      {[]packet.Packet{packet.EchoReply(web.Src.Addr(), web.Dst.Addr(), 1, 1, nil)}, ""},
		"unsolicited timestamp reply": {[]packet.Packet{icmp(web.Src.Addr(), web.Dst.Addr(), 14, 0, make([]byte, 12))}, ""},
		"router advertisement":        {[]packet.Packet{icmp(web.Src.Addr(), web.Dst.Addr(), 9, 0, nil)}, ""},
		"router solicitation":         {[]packet.Packet{icmp(web.Src.Addr(), web.Dst.Addr(), 10, 0, nil)}, ""},
		"error about an unknown flow": {[]packet.Packet{icmp(web.Src.Addr(), web.Dst.Addr(), 3, 3, unknown)}, ""},
		// The quoted ports of the known flow are cut off (net/netfilter/nf_conntrack_proto_icmp.c,
		// nf_conntrack_inet_error).
		"error that quotes 20 bytes": {with(handshake, icmp(web.Dst.Addr(), web.Src.Addr(), 3, 3, handshake[0][:20])), ""},
	}
	if !kernel.InvalidNewLogged.Here() {
		for _, flags := range beginNothing {
			cases["first packet "+flags.String()] = unexplained{[]packet.Packet{client(flags, 1, 0, 0)}, ""}
		}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := router()
			if c.sysctl != "" {
				cfg.Sysctls[c.sysctl] = "0"
			}
			x := open(t, cfg)
			x.talk(c.packets...)
			if got := x.reasons(); len(got) != 0 {
				t.Errorf("reasons %v", got)
			}
			if s := x.path().String(); !regexp.MustCompile(`(invalid|icmp_error) \+1: the kernel gives no reason\n`).MatchString(s) {
				t.Errorf("the path does not say so:\n%s", s)
			}
			r, err := x.o.Record(t.Context())
			var got []string
			for _, u := range r.Unexplained {
				got = append(got, packet.Packet(u.Packet).String()+": "+u.Text)
			}
			last := c.packets[len(c.packets)-1]
			if diff := cmp.Diff([]string{last.String() + ": " + observe.NoReason}, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			if s := r.Timeline().String(); !strings.Contains(s, "reason    INVALID; the kernel gives no reason\n") {
				t.Errorf("the timeline does not say so:\n%s", s)
			}
		})
	}
}
