package observe_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/kernel"
)

// causes returns the place, kind, certainty and number of packets of each cause, in the order of the losses.
func (l lab) causes() []string {
	l.Helper()
	var s []string
	for _, loss := range l.path().Losses() {
		for _, c := range loss.Causes {
			s = append(s, fmt.Sprintf("%v %v, %d of %d lost: %v %t %d", loss.Family, loss.Hook, loss.Lost, loss.Of, c.Kind, c.Certain, c.Packets))
		}
	}
	return s
}

// setLink changes the attributes of a link, or its queueing discipline, by a message of rtnetlink. Its header has that size,
// with the index of the link at offset 4.
func (l lab) setLink(name string, typ netlink.HeaderType, flags netlink.HeaderFlags, size int, change func(header []byte, a *netlink.AttributeEncoder)) {
	l.Helper()
	err := l.env.Do(func() error {
		link, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
		if err != nil {
			return err
		}
		defer conn.Close()
		header := make([]byte, size)
		binary.NativeEndian.PutUint32(header[4:], uint32(link.Index))
		a := netlink.NewAttributeEncoder()
		change(header, a)
		attrs, err := a.Encode()
		if err != nil {
			return err
		}
		_, err = conn.Execute(netlink.Message{
			Header: netlink.Header{Type: typ, Flags: netlink.Request | netlink.Acknowledge | flags}, Data: append(header, attrs...),
		})
		return err
	})
	if err != nil {
		l.Fatal(err)
	}
}

// setMTU changes the MTU of the host's end of a link only.
func (l lab) setMTU(name string, mtu uint32) {
	l.Helper()
	l.setLink(name, unix.RTM_NEWLINK, 0, 16, func(_ []byte, a *netlink.AttributeEncoder) { a.Uint32(unix.IFLA_MTU, mtu) })
}

// setFullQueue gives a link a queue without room.
func (l lab) setFullQueue(name string) {
	l.Helper()
	l.setLink(name, unix.RTM_NEWQDISC, netlink.Create|netlink.Replace, 20, func(header []byte, a *netlink.AttributeEncoder) {
		binary.NativeEndian.PutUint32(header[12:], 0xffffffff) // TC_H_ROOT
		a.String(1, "pfifo")                                   // TCA_KIND
		a.Bytes(2, make([]byte, 4))                            // TCA_OPTIONS, limit 0
	})
}

// forwarded is a datagram from the router's client to its server.
func forwarded(n int) packet.Packet { return web.UDP(make([]byte, n)) }

// What the kernel refuses without any rule is said to be the kernel's doing, or not to be known. No rule is blamed.
func TestKernelsOwnRefusalsAreNotBlamedOnRules(t *testing.T) {
	t.Parallel()
	const (
		emptyNAT = "table inet t { chain o { type nat hook output priority -100; }; }"
		onePort  = "table ip t { chain o { type nat hook postrouting priority srcnat; meta l4proto udp masquerade to :40000-40000; }; }"
	)
	to := func(src, dst string) packet.Flow { return packet.Flow{Src: addrPort(src), Dst: addrPort(dst)} }
	redirects := func(c *netnsenv.Config) {
		c.Silent = false
		c.Sysctls["net.ipv4.conf.all.send_redirects"], c.Sysctls["net.ipv4.conf.tun0.send_redirects"] = "1", "1"
	}
	for name, c := range map[string]struct {
		rules  string
		change func(*netnsenv.Config)
		do     func(lab)
		want   []string
	}{
		"NAT, a redirect": {emptyNAT, redirects, func(x lab) {
			x.sendBy("tun0", packet.SYN(to("198.18.0.7:1000", "198.18.0.9:80")))
		}, []string{"ipv4 output, 1 of 1 lost: nat true 1"}},
		"NAT, a redirect beside a rule elsewhere": {emptyNAT + "\ntable ip u { chain f { type filter hook output priority filter; tcp dport 9 drop; }; }", redirects, func(x lab) {
			x.sendBy("tun0", packet.SYN(to("198.18.0.7:1000", "198.18.0.9:80")))
		}, []string{"ipv4 output, 1 of 1 lost: nat true 1"}},
		"NAT, no port left": {onePort, nil, func(x lab) {
			for n := range 3 {
				x.sendBy("tun0", web.Nth(n).UDP(nil))
			}
		}, []string{"ipv4 postrouting, 2 of 3 lost: insert failed true 2"}},
		"defragmentation, incomplete": {"", nil, func(x lab) {
			x.sendBy("tun0", forwarded(2000).Fragments(1000)[:2]...)
		}, []string{"ipv4 prerouting, 2 of 2 lost: reassembled true 2"}},
		"defragmentation, complete": {"", nil, func(x lab) {
			x.sendBy("tun0", forwarded(2000).Fragments(1000)...)
		}, []string{"ipv4 prerouting, 2 of 3 lost: reassembled true 2"}},
		"defragmentation, refused": {"", nil, func(x lab) {
			p := forwarded(2000)
			x.sendBy("tun0", p.Fragment(0, 800, true), p.Fragment(400, 800, true))
		}, []string{"ipv4 prerouting, 2 of 2 lost: reassembled true 1", "ipv4 prerouting, 2 of 2 lost: defragmentation true 1"}},
		"reverse path": {"", func(c *netnsenv.Config) { c.Sysctls["net.ipv4.conf.tun0.rp_filter"] = "1" }, func(x lab) {
			x.sendBy("tun0", packet.SYN(to("203.0.113.9:1", "192.0.2.1:80")))
		}, []string{"ipv4 prerouting, 1 of 1 lost: reverse path true 1"}},
		"no route": {"", nil, func(x lab) {
			x.sendBy("tun0", packet.SYN(to("198.18.0.2:1", "203.0.113.9:80")))
		}, []string{"ipv4 prerouting, 1 of 1 lost: no route true 1"}},
		"time to live": {"", nil, func(x lab) {
			x.sendBy("tun0", packet.SYN(web).With(packet.TTL(1)))
		}, []string{"ipv4 prerouting, 1 of 1 lost: hop limit true 1"}},
		"header checksum": {"", nil, func(x lab) {
			x.sendBy("tun0", packet.SYN(web).With(packet.HeaderChecksum(7)))
		}, []string{"ipv4 ingress, 1 of 1 lost: header checksum true 1"}},
		"transport checksum": {"", nil, func(x lab) {
			x.sendBy("tun0", damaged(to("198.18.0.2:1", "198.18.0.1:9").UDP([]byte("x")), 0, 26, 0, 7))
		}, []string{"ipv4 input, 1 of 1 lost: invalid true 1", "ipv4 input, 1 of 1 lost: checksum true 1"}},
		"MTU": {"", func(c *netnsenv.Config) { c.Links[1].MTU = 1280 }, func(x lab) {
			x.sendBy("tun0", forwarded(1400))
		}, []string{"ipv4 prerouting, 1 of 1 lost: too big true 1"}},
		"MTU, of fragments that must not be cut": {"", func(c *netnsenv.Config) { c.Links[1].MTU = 1280 }, func(x lab) {
			for _, p := range forwarded(2000).Fragments(1400) {
				x.sendBy("tun0", damaged(p, 0, 6, p[6]|0x40)) // Don't Fragment
			}
		}, []string{"ipv4 prerouting, 1 of 2 lost: reassembled true 1", "ipv4 prerouting, 1 of 1 lost: too big true 1"}},
		"queueing discipline": {"", nil, func(x lab) {
			x.setFullQueue("tun1")
			x.sendBy("tun0", forwarded(1), forwarded(2))
		}, []string{"ipv4 postrouting, 2 of 2 lost: qdisc true 2"}},
		"far end of a veth": {"", func(c *netnsenv.Config) { c.Links[0].MTU, c.Links[1].Kind = 9000, netnsenv.Veth }, func(x lab) {
			x.setMTU("tun1", 9000)
			x.sendBy("tun0", forwarded(1), forwarded(8000))
		}, []string{"ipv4 postrouting, 1 of 2 lost: far end true 1"}},
		"IPv6 switched off": {"", nil, func(x lab) {
			x.sendBy("tun0", packet.SYN(web6), packet.SYN(web6))
		}, []string{"ipv6 ingress, 2 of 2 lost: ipv6 disabled true 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := router()
			if c.change != nil {
				c.change(&cfg)
			}
			if c.rules != "" {
				cfg.Rules = []netnsenv.Ruleset{netnsenv.NFT(c.rules)}
			}
			x := open(t, cfg)
			c.do(x)
			if diff := cmp.Diff(c.want, x.causes()); diff != "" {
				t.Errorf("(-want +got):\n%s\n%v", diff, x.path())
			}
		})
	}
}

// Two clients announce the same port to the FTP server. The helper drops the second announcement, because another connection
// already expects that flow. Where the kernel does not log that, the helper is one of two possible causes.
func TestHelpersRefusalIsTheHelpers(t *testing.T) {
	t.Parallel()
	cfg := router()
	cfg.Rules = []netnsenv.Ruleset{netnsenv.Helper{Name: "ftp", Proto: nf.TCP, Match: nf.Match{DstPort: 21}}}
	x := open(t, cfg)
	for _, port := range []uint16{1000, 1001} {
		f := packet.Flow{Src: netip.AddrPortFrom(web.Src.Addr(), port), Dst: netip.AddrPortFrom(web.Dst.Addr(), 21)}
		x.talk(packet.SYN(f), packet.SYNACK(f.Reverse()), packet.ACK(f))
		seq := uint32(2)
		for _, line := range []string{"USER u\r\n", "PORT 198,18,0,2,8,1\r\n"} { // the helper reads lines that follow another
			x.talk(f.TCP(packet.TCP{Flags: packet.FlagPSH | packet.FlagACK, Seq: seq, Ack: 2, Window: 65535, Payload: []byte(line)}))
			seq += uint32(len(line))
		}
	}
	want := []string{"ipv4 postrouting, 1 of 10 lost: helper true 1"}
	if !kernel.HelperDropsLogged.Here() {
		want = []string{"ipv4 postrouting, 1 of 10 lost: unknown false 0", "ipv4 postrouting, 1 of 10 lost: helper false 0"}
	}
	if diff := cmp.Diff(want, x.causes()); diff != "" {
		t.Errorf("(-want +got):\n%s\n%v", diff, x.path())
	}
}

// Packets that nobody reads from a tun in time are lost on the link, as many as the link says.
func TestUnreadPacketsAreLostOnTheLink(t *testing.T) {
	t.Parallel()
	cfg := router()
	cfg.Links[1].Kind = netnsenv.Tun
	x := open(t, cfg)
	const sent = 700
	for n := range sent {
		x.sendBy("tun0", web.Nth(n).UDP(nil))
	}
	lost, err := x.env.Link("tun1").Lost()
	if err != nil || lost == 0 {
		t.Fatalf("%d packets lost: %v", lost, err)
	}
	want := []string{fmt.Sprintf("ipv4 postrouting, %d of %d lost: far end true %d", lost, sent, lost)}
	if diff := cmp.Diff(want, x.causes()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Where a rule without a counter stands beside NAT, either may have dropped the packet, and the path says so.
func TestRuleBesideNATIsOneOfTwo(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{netnsenv.NFT(
		"table ip t { chain n { type nat hook prerouting priority dstnat; }; chain d { type filter hook prerouting priority -50; tcp dport 80 drop; }; }")}})
	if _, err := inject.New(x.env.Links()[0]).Send(t.Context(), packet.SYNs(1, web)); err != nil {
		t.Fatal(err)
	}
	want := []string{"ipv4 prerouting, 1 of 1 lost: rule false 0", "ipv4 prerouting, 1 of 1 lost: nat false 0"}
	if diff := cmp.Diff(want, x.causes()); diff != "" {
		t.Errorf("(-want +got):\n%s\n%v", diff, x.path())
	}
}

// What is dropped beside the confirmation is told from what continues without an entry, and the rule is certain if it has counted
// that: where the rule is older than our probe before the confirmation, and where it is younger.
func TestRulesBesideTheConfirmation(t *testing.T) {
	t.Parallel()
	const chain = "table inet t { chain c { type filter hook %s priority 2147483647; udp dport 9 %s; }; chain raw { type filter hook prerouting priority raw; udp dport 7 notrack; }; }"
	here := packet.Flow{Src: web.Src, Dst: addrPort("198.18.0.1:9")}
	untracked := packet.Flow{Src: web.Src, Dst: addrPort("198.18.0.1:7")}
	invalid := packet.Flow{Src: web.Src, Dst: addrPort("198.18.0.1:80")}.TCP(packet.TCP{Flags: packet.FlagSYN | packet.FlagFIN})
	for name, c := range map[string]struct {
		hook, verdict string
		want          []string // of a rule in the Config
	}{
		"counted": {"input", "counter drop", []string{
			"ipv4 input, 2 of 4 lost: rule true 2", "ipv4 input, 2 of 4 lost: invalid true 1", "ipv4 input, 2 of 4 lost: untracked false 0",
		}},
		"not counted": {"input", "drop", []string{
			"ipv4 input, 2 of 4 lost: rule false 0", "ipv4 input, 2 of 4 lost: invalid true 1", "ipv4 input, 2 of 4 lost: untracked false 0",
		}},
		"that accepts": {"input", "counter accept", []string{
			"ipv4 input, 2 of 4 lost: invalid true 1", "ipv4 input, 2 of 4 lost: untracked false 0",
		}},
		"of another hook": {"postrouting", "counter drop", []string{
			"ipv4 input, 2 of 4 lost: invalid true 1", "ipv4 input, 2 of 4 lost: untracked false 0",
		}},
	} {
		for _, later := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, later %t", name, later), func(t *testing.T) {
				t.Parallel()
				cfg := router()
				rules := netnsenv.NFT(fmt.Sprintf(chain, c.hook, c.verdict))
				if !later {
					cfg.Rules = append(cfg.Rules, rules)
				}
				x := open(t, cfg)
				want := slices.Clone(c.want)
				if later {
					if err := rules.Load(t.Context(), x.env); err != nil {
						t.Fatal(err)
					}
					if len(want) == 3 { // they do not get to the confirmation
						for i := range want {
							want[i] = strings.Replace(want[i], "2 of 4 lost: i", "2 of 2 lost: i", 1)
							want[i] = strings.Replace(want[i], "2 of 4 lost: u", "2 of 2 lost: u", 1)
						}
					}
				}

				if strings.Contains(want[0], "rule false") && !later && !kernel.HelperDropsLogged.Here() { // it may have been a helper
					want = slices.Insert(want, 1, "ipv4 input, 2 of 4 lost: helper false 0")
				}

				x.sendBy("tun0", here.UDP(nil), here.UDP([]byte("again")), untracked.UDP(nil), invalid)

				if diff := cmp.Diff(want, x.causes()); diff != "" {
					t.Errorf("(-want +got):\n%s\n%v", diff, x.path())
				}
			})
		}
	}
}
