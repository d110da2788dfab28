package observe_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Each packet that conntrack has something to say about has its reason beside it.
func TestReasonStandsBesideItsPacket(t *testing.T) {
	t.Parallel()
	udp := web.UDP([]byte("payload"))
	tcp := client(ack, 1001, 5001, 100)
	far := web.Src.Addr().Next()
	const longAgo = 1<<32 + 5001 - 70000 // more than the 66,000 bytes before what the server sends that an ACK may be late
	cases := map[string]struct {
		packets []packet.Packet // the last is the one in question
		proto   nf.Proto
		want    string // the whole text
		passed  bool
	}{
		"far over the window":          {with(handshake, client(psh|ack, 70000, 5001, 10)), nf.TCP, `SEQ is over (the )?upper bound.*\(over the window of the receiver\)`, false},
		"beyond the right edge":        {with(handshake, client(psh|ack, 2500, 5001, 10)), nf.TCP, `\d+ bytes more than expected`, true},
		"under the lower bound":        {with(append(handshake[:3:3], client(psh|ack, 1001, 5001, 500), server(ack, 5001, 1501, 0), client(psh|ack, 1501, 5001, 900), server(ack, 5001, 2401, 0), client(psh|ack, 2401, 5001, 900), server(ack, 5001, 3301, 0)), client(psh|ack, 1001, 5001, 10)), nf.TCP, `SEQ is under (the )?lower bound.*`, true},
		"ACK under the lower bound":    {with(handshake, client(ack, 1001, longAgo, 0)), nf.TCP, `(ignored )?ACK (is )?under (the )?lower bound.*`, true},
		"ACK of what was not sent":     {with(handshake, client(ack, 1001, 9000, 0)), nf.TCP, `ACK is over (the )?upper bound.*\(ACKed data not seen yet\)`, false},
		"RST below":                    {with(handshake, client(rst, 900, 0, 0)), nf.TCP, `invalid rst`, false},
		"SYN on ESTABLISHED":           {with(handshake, client(syn, 90000, 0, 0)), nf.TCP, `packet \(index 0\) in dir 0 ignored, state ESTABLISHED`, true},
		"challenge ACK in SYN_SENT":    {with(handshake[:1], server(ack, 7000, 800, 0)), nf.TCP, `packet \(index 3\) in dir 1 ignored, state SYN_SENT`, true},
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
	for _, flags := range []packet.TCPFlags{
		0, fin, fin | syn, syn | rst, psh, urg, fin | psh | urg, rst, rst | ack, syn | ack, fin | ack, fin | syn | rst | psh | ack | urg,
	} {
		name := "first packet " + strings.Trim(flags.String(), ".")
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

// Where the kernel calls a packet INVALID and gives no reason, the path says just that.
func TestPathSaysThatTheKernelGivesNoReason(t *testing.T) {
	t.Parallel()
	unknown := packet.SYN(web.Nth(7))
	for name, c := range map[string]struct {
		packets []packet.Packet
		sysctl  string
	}{
		"TCP header under 20 bytes":   {[]packet.Packet{damaged(client(syn, 1, 0, 0), 36, 20)}, ""},
		"UDP under 4 bytes":           {[]packet.Packet{damaged(web.UDP(nil), 23, 20)}, ""},
		"stray ACK, strict":           {[]packet.Packet{client(ack, 1, 1, 0)}, "net.netfilter.nf_conntrack_tcp_loose"},
		"stray answer, strict":        {[]packet.Packet{server(psh|ack, 1, 1, 9)}, "net.netfilter.nf_conntrack_tcp_loose"},
		"unsolicited echo reply":      {[]packet.Packet{packet.EchoReply(web.Src.Addr(), web.Dst.Addr(), 1, 1, nil)}, ""},
		"unsolicited timestamp reply": {[]packet.Packet{icmp(web.Src.Addr(), web.Dst.Addr(), 14, 0, make([]byte, 12))}, ""},
		"router advertisement":        {[]packet.Packet{icmp(web.Src.Addr(), web.Dst.Addr(), 9, 0, nil)}, ""},
		"router solicitation":         {[]packet.Packet{icmp(web.Src.Addr(), web.Dst.Addr(), 10, 0, nil)}, ""},
		"error about an unknown flow": {[]packet.Packet{icmp(web.Src.Addr(), web.Dst.Addr(), 3, 3, unknown)}, ""},
		// Of the ports of a known flow nothing is left (net/netfilter/nf_conntrack_proto_icmp.c, nf_conntrack_inet_error).
		"error that quotes 20 bytes": {with(handshake, icmp(web.Dst.Addr(), web.Src.Addr(), 3, 3, handshake[0][:20])), ""},
	} {
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
