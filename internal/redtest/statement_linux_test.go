package redtest_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/cases"
	"github.com/ctexp/go-ctexp/ctexp/model"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/needs"
	"github.com/ctexp/go-ctexp/internal/redtest"
)

func prefixes(s ...string) (all []netip.Prefix) {
	for _, p := range s {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

// routing returns a router between tun0 and tun1.
func routing(rules ...netnsenv.Ruleset) netnsenv.Config {
	return netnsenv.Config{
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"}, Rules: rules,
		Links: []netnsenv.LinkConfig{{Prefixes: prefixes("198.18.0.1/24")}, {Prefixes: prefixes("192.0.2.1/24")}},
	}
}

// bridged returns a host with a bridge of the ports p0 and p1.
func bridged(rules ...netnsenv.Ruleset) netnsenv.Config {
	return netnsenv.Config{
		Links:   []netnsenv.LinkConfig{{Name: "p0", Port: netnsenv.Port{Of: "br0"}}, {Name: "p1", Port: netnsenv.Port{Of: "br0"}}},
		Devices: []netnsenv.Device{{Name: "br0", Kind: netnsenv.Bridge{}, Prefixes: prefixes("192.0.2.1/24", "198.18.0.1/24")}},
		Rules:   rules,
	}
}

// A probe that can count nothing is not a count of zero.
func TestProbesThatCountNothing(t *testing.T) {
	t.Parallel()
	v6, v4 := netip.MustParsePrefix("2001:db8::/64"), netip.MustParsePrefix("192.0.2.0/24")
	for name, c := range map[string]struct {
		cfg    netnsenv.Config
		probe  nf.Probe
		reason string
	}{
		"out in prerouting":        {routing(), nf.Probe{Hook: nf.Prerouting, Match: nf.Match{Out: "tun1"}}, "no packet is known to leave"},
		"out in input":             {routing(), nf.Probe{Hook: nf.Input, Match: nf.Match{Out: "tun1"}}, "no packet is known to leave"},
		"in in output":             {routing(), nf.Probe{Hook: nf.Output, Match: nf.Match{In: "tun0"}}, "does not come in"},
		"another family":           {routing(), nf.Probe{Family: nf.IPv4, Match: nf.Match{Src: v6}}, "no packet of ipv4 has the address"},
		"two families":             {routing(), nf.Probe{Match: nf.Match{Src: v6, Dst: v4}}, "of different families"},
		"IPv6 where there is none": {routing(), nf.Probe{Family: nf.IPv6}, "is about IPv6"},
		"state before conntrack":   {routing(), nf.Probe{Priority: -300, State: nf.StateNew}, "no packet has an entry in prerouting"},
		"dir before conntrack":     {routing(), nf.Probe{Priority: -300, Dir: nf.Reply, Match: nf.Match{In: "tun0"}}, "no packet has an entry in prerouting"},
		"a mark without a mask":    {routing(), nf.Probe{Mark: 5}, "MarkMask"},
		"a port of a bridge":       {bridged(), nf.Probe{Match: nf.Match{In: "p0"}}, `port of the bridge "br0"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			red(t, c.reason, func(f *redtest.TB) {
				c.probe.Name = "p"
				c.cfg.Probes = []nf.Probe{c.probe}
				x := ctexp.New(f, c.cfg)
				x.Inject(packet.SYNs(3, through))
				x.Tally()
			})
		})
	}
}

// An expectation that no packet can match does not come true by that.
func TestMatchesOfNothing(t *testing.T) {
	t.Parallel()
	number, echo := uint32(1400), uint8(8)
	for name, c := range map[string]struct {
		match  packet.Match
		reason string
	}{
		"ARP":                   {packet.Match{EtherType: packet.EtherTypeARP}, "an Inbox has packets of IP"},
		"an Ethernet address":   {packet.Match{DstMAC: nf.MAC{2}}, "an Inbox has packets of IP"},
		"a VLAN":                {packet.Match{VLAN: 5}, "an Inbox has packets of IP"},
		"flags of UDP":          {packet.Match{Proto: nf.UDP, Flags: packet.FlagSYN}, "no packet of udp has fields of TCP"},
		"two families":          {packet.Match{Src: web.Src, DstNet: netip.MustParsePrefix("2001:db8::/32")}, "of different families"},
		"flags without a mask":  {packet.Match{Flags: packet.FlagSYN, FlagsMask: packet.FlagACK}, "are not compared with"},
		"Ack without ACK":       {packet.Match{Flags: packet.FlagSYN, Ack: &number}, "no segment without the flag ACK"},
		"two payloads":          {packet.Match{Payload: []byte("x"), Contains: "y"}, "does not contain"},
		"two sources":           {packet.Match{Tuple: through.Tuple(nf.TCP), Src: netip.MustParseAddrPort("198.18.0.2:9")}, "another source"},
		"an MTU of an echo":     {packet.Match{Proto: nf.ICMP, ICMPType: &echo, MTU: &number}, "no ICMP message of type 8"},
		"exactly another":       {packet.Match{Exactly: packet.SYN(through), TTL: &echo}, "does not match"},
		"outside of the prefix": {packet.Match{Src: web.Src, SrcNet: netip.MustParsePrefix("10.0.0.0/8")}, "is not in 10.0.0.0/8"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := routing()
			cfg.Links[1].Kind = netnsenv.Veth
			red(t, c.reason, func(f *redtest.TB) {
				x := ctexp.New(f, cfg)
				x.Inject(packet.SYNs(3, through))
				x.ExpectNothing(c.match)
			})
		})
	}
	red(t, "no packet of udp has fields of TCP", func(f *redtest.TB) {
		x := ctexp.New(f, routing())
		x.Inject(packet.SYNs(3, through))
		x.Frames(packet.Match{Proto: nf.UDP, Flags: packet.FlagSYN})
	})
}

// More false statements, by what is newer than those of TestFalseStatements.
func TestMoreFalseStatements(t *testing.T) {
	t.Parallel()
	solicit := func(x *ctexp.Experiment) {
		err := x.Env.Do(func() error {
			c, err := net.ListenPacket("ip6:ipv6-icmp", "2001:db8::1")
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = c.WriteTo([]byte{133, 0, 0, 0, 0, 0, 0, 0}, &net.IPAddr{IP: net.ParseIP("ff02::2"), Zone: x.Env.Links()[0].Name()})
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	six := netnsenv.Config{Links: []netnsenv.LinkConfig{{Prefixes: prefixes("2001:db8::1/64")}}}
	zone5 := netnsenv.NFT("table ip n { chain c { type filter hook prerouting priority -300; ct zone set 5; }; }")
	noEvents := netnsenv.NFT("table ip n { chain c { type filter hook prerouting priority 0; ct event set destroy; }; }")
	for name, c := range map[string]struct {
		reason string
		cfg    netnsenv.Config
		test   func(x *ctexp.Experiment)
	}{
		"the host sends nothing, by wire": {"the Env has no link", netnsenv.Config{Links: []netnsenv.LinkConfig{}}, func(x *ctexp.Experiment) {
			if err := x.Env.Do(func() error { return nil }); err != nil {
				t.Error(err)
			}
			x.ExpectNothing()
		}},
		"nothing came, as somebody else has read it": {"somebody else has read them", routing(), func(x *ctexp.Experiment) {
			if _, err := x.Env.Links()[0].Write(packet.SYN(through)); err != nil {
				t.Error(err)
			}
			if _, err := x.Env.Links()[1].Read(make([]byte, 100)); err != nil {
				t.Error(err)
			}
			x.ExpectNothing()
		}},
		"a program solicits no router": {"router solicitation", six, func(x *ctexp.Experiment) { solicit(x); x.ExpectNothing() }},
		"a program sends no multicast": {"router solicitation", six, func(x *ctexp.Experiment) {
			solicit(x)
			x.ExpectNothing(packet.Match{DstNet: netip.MustParsePrefix("ff00::/8")})
		}},
		"a link that is not there holds nothing": {`no link "tun9"`, routing(), func(x *ctexp.Experiment) {
			x.Hold(nf.Probe{Match: nf.Match{In: "tun9"}}).Held()
		}},
		"a closed queue holds nothing": {"the Queue is closed", routing(), func(x *ctexp.Experiment) {
			q := x.Hold(nf.Probe{})
			x.Inject(packet.SYNs(3, through))
			q.Close()
			q.Held()
		}},
		"a flow in another zone has no entry": {"one in zone 5", routing(zone5), func(x *ctexp.Experiment) {
			x.Inject(packet.SYNs(1, through))
			x.Flow(through.Tuple(nf.TCP))
		}},
		"a flow in another zone has no state": {"one in zone 5", routing(zone5), func(x *ctexp.Experiment) {
			x.States(through.Tuple(nf.TCP), packet.SYNs(1, through))
		}},
		"a flow in another zone has no timeout": {"one in zone 5", routing(zone5), func(x *ctexp.Experiment) {
			x.Timeouts(through.Tuple(nf.TCP), packet.SYNs(1, through))
		}},
		"another flow than that of the packets has no state": {"no packet and no event was ever about it", routing(), func(x *ctexp.Experiment) {
			x.States(through.Nth(9).Tuple(nf.TCP), packet.SYNs(2, through))
		}},
		"an entry whose events are masked never was": {"keeps entries from having events: nft ip n c", routing(noEvents), func(x *ctexp.Experiment) {
			x.Inject(packet.SYNs(1, through))
			x.Life(through.Tuple(nf.TCP))
		}},
		"the rule that masks events was there for a moment": {"keeps entries from having events", routing(), func(x *ctexp.Experiment) {
			x.Load(noEvents)
			x.Inject(packet.SYNs(1, through))
			shell("nft delete table ip n")(t, x)
			x.Life(through.Tuple(nf.TCP))
		}},
		"all entries have the mark 5": {"MarkMask", routing(), func(x *ctexp.Experiment) {
			x.Inject(packet.SYNs(1, through))
			x.Flows(nf.Filter{Mark: 5})
		}},
		"entries of another family are aged": {"has the address", routing(), func(x *ctexp.Experiment) {
			x.Inject(packet.SYNs(1, through))
			x.Age(500*time.Second, nf.Filter{Family: nf.IPv6, Src: netip.MustParsePrefix("198.18.0.0/24")})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			red(t, c.reason, func(f *redtest.TB) { c.test(ctexp.New(f, c.cfg)) })
		})
	}
	for name, r := range map[string]netnsenv.Ruleset{
		"a helper":         netnsenv.Helper{Name: "ftp", Proto: nf.TCP, Match: nf.Match{In: "tun9"}},
		"an expectation":   netnsenv.Expect{Match: nf.Match{Proto: nf.TCP, In: "tun9"}, Proto: nf.TCP, Port: 6000, Timeout: time.Minute},
		"a timeout policy": netnsenv.TimeoutPolicy{Proto: nf.UDP, Timeouts: map[string]time.Duration{"unreplied": time.Second}, Match: nf.Match{In: "tun9"}},
	} {
		red(t, `there is no link "tun9"`, func(f *redtest.TB) { ctexp.New(f, routing(r)) })
		fake := &redtest.TB{TestName: name}
		if log := fake.Run(func(f *redtest.TB) { ctexp.New(f, routing(netnsenv.MissingLinks(r))) }); fake.Failed() {
			t.Errorf("%s of a missing link that may be missing: %s", name, log)
		}
		needs.Check(t, fake.Lack())
	}
}

// Questions beside those of TestAbsenceIsEarned.
func TestAbsenceOfMoreIsEarned(t *testing.T) {
	t.Parallel()
	cfg := routing()
	cfg.Trace = true
	for _, q := range []answer{
		{"Expectations", func(x *ctexp.Experiment) { x.Expectations() }},
		{"Reasons", func(x *ctexp.Experiment) { x.Reasons() }},
		{"Trace", func(x *ctexp.Experiment) { x.Trace() }},
		{"Fates", func(x *ctexp.Experiment) { x.Fates() }},
		{"Held", func(x *ctexp.Experiment) { x.Hold(nf.Probe{}).Held() }},
		{"States", func(x *ctexp.Experiment) { x.States(through.Tuple(nf.TCP), packet.SYNs(0, through)) }},
		{"Timeouts", func(x *ctexp.Experiment) { x.Timeouts(through.Tuple(nf.TCP), packet.SYNs(0, through)) }},
		{"Classes", func(x *ctexp.Experiment) { x.Classes(packet.SYNs(0, through)) }},
	} {
		t.Run(q.name, func(t *testing.T) {
			t.Parallel()
			red(t, "nothing was sent, dialled or run", func(f *redtest.TB) { q.ask(ctexp.New(f, cfg)) })
			x := ctexp.New(t, cfg)
			x.AllowVacuous()
			q.ask(x)
		})
	}
}

// A packet that is seen nowhere was not accepted.
func TestVerdictOfWhatIsGone(t *testing.T) {
	t.Parallel()
	syn := packet.SYN(through)
	for name, c := range map[string]struct {
		cfg    netnsenv.Config
		packet packet.Packet
		want   ctexp.Verdict
	}{
		"dropped on egress": {
			routing(netnsenv.NFT("table netdev n { chain c { type filter hook egress device tun1 priority 0; drop; }; }")), syn, ctexp.VerdictDrop,
		},
		"dropped on egress at the last priority": {
			routing(netnsenv.NFT("table netdev n { chain c { type filter hook egress device tun1 priority 2147483647; drop; }; }")), syn, ctexp.VerdictDrop,
		},
		"dropped on egress at the first priority": {
			routing(netnsenv.NFT("table netdev n { chain c { type filter hook egress device tun1 priority -2147483648; drop; }; }")), syn, ctexp.VerdictLost,
		},
		"forwarded on egress": {
			routing(netnsenv.NFT("table netdev n { chain c { type filter hook egress device tun1 priority 0; fwd to tun0; }; }")), syn, ctexp.VerdictAccept,
		},
		"dropped by a bridge": {
			bridged(netnsenv.NFT("table bridge n { chain c { type filter hook prerouting priority 0; drop; }; }")), packet.SYN(web), ctexp.VerdictLost,
		},
		"forwarded before the hooks": {
			routing(netnsenv.NFT("table netdev n { chain c { type filter hook ingress device tun0 priority 0; fwd to tun1; }; }")), syn, ctexp.VerdictAccept,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if strings.Contains(name, "on egress") {
				needs.Check(t, kernel.EgressHook.Lack())
			}
			x := ctexp.New(t, c.cfg)
			for name, try := range map[string]func(context.Context, ...ctexp.Trial) ([]ctexp.Outcome, error){"Try": x.Try, "TryQuickly": x.TryQuickly} {
				got, err := try(t.Context(), ctexp.Trial{Packet: c.packet})
				if err != nil {
					t.Fatal(err)
				}
				if got[0].Verdict() != c.want || got[0].Gone != (c.want == ctexp.VerdictLost) || c.want == ctexp.VerdictDrop != (len(got[0].Losses) == 1) && c.want != ctexp.VerdictAccept {
					t.Errorf("%s: %v, want %v: %v", name, got[0].Verdict(), c.want, got[0])
				}
			}
		})
	}
}

// What a rule of the last priority drops was not accepted, not even beside the confirmation, nor when the rule is older than our
// probe there, or younger, or has no counter.
func TestVerdictOfTheLastPriority(t *testing.T) {
	t.Parallel()
	toHost, fromHost := packet.SYN(web), packet.SYN(packet.Flow{Src: netip.MustParseAddrPort("192.0.2.1:5"), Dst: netip.MustParseAddrPort("192.0.2.2:80")})
	for _, c := range []struct {
		hook   string
		packet packet.Packet
	}{
		{"prerouting", packet.SYN(through)}, {"input", toHost}, {"forward", packet.SYN(through)}, {"output", fromHost},
		{"postrouting", packet.SYN(through)}, {"postrouting", fromHost},
	} {
		for _, conntrack := range []netnsenv.Switch{netnsenv.On, netnsenv.Off} {
			for _, when := range []string{"in the Config", "later", "without a rule"} {
				t.Run(fmt.Sprintf("%s %v %s", c.hook, conntrack, when), func(t *testing.T) {
					t.Parallel()
					want := ctexp.VerdictDrop
					rule := netnsenv.NFT("table inet n { chain c { type filter hook " + c.hook + " priority 2147483647; meta l4proto tcp drop; }; }")
					cfg := routing()
					cfg.Conntrack = conntrack
					switch when {
					case "in the Config":
						cfg.Rules = append(cfg.Rules, rule)
					case "without a rule":
						want = ctexp.VerdictAccept
					}
					x := ctexp.New(t, cfg)
					if when == "later" {
						x.Load(rule)
					}
					for name, try := range map[string]func(context.Context, ...ctexp.Trial) ([]ctexp.Outcome, error){"Try": x.Try, "TryQuickly": x.TryQuickly} {
						got, err := try(t.Context(), ctexp.Trial{Packet: c.packet})
						if err != nil {
							t.Fatal(err)
						}
						if got[0].Verdict() != want {
							t.Errorf("%s: %v, want %v: %v\n%v", name, got[0].Verdict(), want, got[0].Losses, x.Path())
						}
					}
				})
			}
		}
	}
}

// The second of two flows that get the same port by NAT is dropped at the confirmation, behind the last probe.
func TestVerdictWithoutAPortForNAT(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, routing(netnsenv.NFT("table ip n { chain c { type nat hook postrouting priority 100; meta l4proto tcp snat to 192.0.2.9:1000; }; }")))
	x.Inject(packet.Packets(packet.SYN(through))) // what it sends is not of the trial
	got, err := x.TryQuickly(t.Context(), ctexp.Trial{Packet: packet.SYN(through.Nth(1))})
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Verdict() != ctexp.VerdictDrop || len(got[0].Out) != 0 {
		t.Errorf("%v: %v", got[0].Verdict(), got[0])
	}
}

// What cannot be inserted counts as a drop, but not of a full table.
func TestInsertFailedIsNoFullTable(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, routing(netnsenv.NFT(`table ip n { chain c { type nat hook postrouting priority 100; meta l4proto tcp snat to 192.0.2.9:1000; }
		chain d { type filter hook prerouting priority -200; udp dport 99 drop; }; }`)))
	x.Inject(packet.Packets(packet.SYN(through), packet.SYN(through.Nth(1)), packet.MustParse("udp 198.18.0.2:5 > 192.0.2.2:99")))
	for _, l := range x.Path().Losses() {
		for _, cause := range l.Causes {
			if cause.Kind == observe.CauseTableFull {
				t.Errorf("%v", l)
			}
		}
	}
}

func TestConversationsThatGoNowhere(t *testing.T) {
	t.Parallel()
	ends := [2]model.Place{
		{Link: "tun0", Addr: netip.MustParseAddrPort("198.18.0.2:22")}, {Link: "tun1", Addr: netip.MustParseAddrPort("192.0.2.2:53")},
	}
	deaf := routing()
	deaf.Sysctls = nil
	holds := func(f *redtest.TB, cfg netnsenv.Config, m model.Config) {
		x := ctexp.New(f, cfg)
		m.Ends = ends
		model.ForAll(f, x.Lab, m, func(model.History) error { return nil })
	}
	red(t, "not one packet", func(f *redtest.TB) { holds(f, deaf, model.Config{N: 5}) })
	red(t, "there are no conversations", func(f *redtest.TB) { holds(f, routing(), model.Config{N: -1}) })
	red(t, "there are no conversations", func(f *redtest.TB) { holds(f, routing(), model.Config{Only: []model.Conversation{}}) })
	red(t, "protocol sctp", func(f *redtest.TB) { holds(f, routing(), model.Config{Protos: []nf.Proto{nf.SCTP}}) })
	only := func(cs ...model.Conversation) model.Config { return model.Config{Only: cs} }
	syn := model.Conversation{Proto: nf.TCP, Steps: []model.Step{{Flags: packet.FlagSYN}}}
	later := model.Conversation{Proto: nf.TCP, Steps: []model.Step{{Pass: time.Second}}}
	red(t, "Config.Only[0]: it has no packet", func(f *redtest.TB) { holds(f, routing(), only(model.Conversation{})) })
	red(t, "Config.Only[1]: it has no packet", func(f *redtest.TB) { holds(f, routing(), only(syn, later)) })
	red(t, "Config.Only[0]: protocol", func(f *redtest.TB) { holds(f, routing(), only(model.Conversation{Steps: syn.Steps})) })
}

// An end that is not where the Config says is heard of by nobody.
func TestEndsThatAreElsewhere(t *testing.T) {
	t.Parallel()
	at := func(link, addr string) model.Place {
		return model.Place{Link: link, Addr: netip.MustParseAddrPort(addr)}
	}
	client, host := at("tun0", "198.18.0.2:22"), at("", "192.0.2.1:53")
	fromHost := model.Config{Only: []model.Conversation{{Proto: nf.TCP, Steps: []model.Step{{From: model.B, Flags: packet.FlagSYN}}}}}
	nat := routing(netnsenv.NFT("table ip n { chain c { type nat hook prerouting priority -100; ip daddr 203.0.113.7 dnat to 192.0.2.2; }; }"))
	oneWay := routing(netnsenv.NFT(`table ip n { chain c { type filter hook forward priority 0; iifname "tun1" drop; }; }`))
	hold := func(f *redtest.TB, cfg netnsenv.Config, m model.Config, allow bool) {
		x := ctexp.New(f, cfg)
		if allow {
			x.AllowVacuous()
		}
		if m.N == 0 {
			m.N = 20
		}
		model.ForAll(f, x.Lab, m, func(model.History) error { return nil })
	}
	for name, c := range map[string]struct {
		cfg    netnsenv.Config
		model  model.Config
		reason string // empty: green
	}{
		"behind no link":           {routing(), model.Config{Ends: [2]model.Place{client, at("tun1", "203.0.113.7:53")}}, "Config.Ends[B].Addr: 203.0.113.7 is not behind"},
		"behind another link":      {routing(), model.Config{Ends: [2]model.Place{client, at("tun1", "198.18.0.3:53")}}, "Config.Ends[B].Addr: 198.18.0.3 is not behind"},
		"the host's own":           {routing(), model.Config{Ends: [2]model.Place{client, at("tun1", "192.0.2.1:53")}}, "Config.Ends[B].Addr: 192.0.2.1 is not behind"},
		"that of the other end":    {routing(), model.Config{Ends: [2]model.Place{client, at("tun1", "198.18.0.2:53")}}, "Config.Ends[B].Addr: 198.18.0.2 is that of end A"},
		"no host":                  {routing(), model.Config{Ends: [2]model.Place{at("tun0", "0.0.0.0:0"), host}}, "Config.Ends[A].Addr"},
		"not the host's":           {routing(), model.Config{Ends: [2]model.Place{client, at("", "192.0.2.7:53")}}, "Config.Ends[B]: its Link is empty"},
		"no link at all":           {routing(), model.Config{Ends: [2]model.Place{at("", "198.18.0.1:1"), host}}, "neither has a Link"},
		"packets of the host only": {routing(), model.Config{Ends: [2]model.Place{client, host}, Only: fromHost.Only}, "Config.Only[0]: all of its packets are of the host"},

		"the host":                {routing(), model.Config{Ends: [2]model.Place{client, host}}, ""},
		"an address of NAT":       {nat, model.Config{Ends: [2]model.Place{client, at("tun1", "203.0.113.7:53")}}, ""},
		"nothing gets to one end": {oneWay, model.Config{Ends: [2]model.Place{client, at("tun1", "192.0.2.2:53")}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			judge(t, c.reason, func(f *redtest.TB) { hold(f, c.cfg, c.model, false) })
		})
	}
	away := model.Config{Ends: [2]model.Place{client, at("tun1", "203.0.113.7:53")}}
	t.Run("with AllowVacuous", func(t *testing.T) {
		judge(t, "", func(f *redtest.TB) { hold(f, routing(), away, true) })
	})
}

// A filter that has never selected an entry is not the one that was meant. Without a filter, the table may be empty.
func TestFiltersOfNoEntry(t *testing.T) {
	t.Parallel()
	udp := nf.Filter{Proto: nf.UDP}
	quiet := routing()
	quiet.NoEvents = true
	for name, c := range map[string]struct {
		cfg    netnsenv.Config
		test   func(x *ctexp.Experiment)
		reason string // empty: green
	}{
		"Age of none":            {routing(), func(x *ctexp.Experiment) { x.Age(time.Hour, udp) }, "age by 1h0m0s: filter 1: no entry is selected"},
		"Age of some and none":   {routing(), func(x *ctexp.Experiment) { x.Age(time.Hour, nf.Filter{Proto: nf.TCP}, udp) }, "filter 2: no entry is selected"},
		"Flush of none":          {routing(), func(x *ctexp.Experiment) { x.Flush(udp) }, "filter 1: no entry is selected"},
		"Flush of some and none": {routing(), func(x *ctexp.Experiment) { x.Flush(nf.Filter{Proto: nf.TCP}, udp) }, "filter 2: no entry is selected"},
		"Flush of an empty zone": {routing(), func(x *ctexp.Experiment) { x.Flush(nf.Filter{Zone: nf.InZone(7)}) }, "filter 1: no entry is selected"},
		"Flush without events":   {quiet, func(x *ctexp.Experiment) { x.Flush(udp) }, "whether one was there earlier is not known"},
		"Age by Lab":             {routing(), func(x *ctexp.Experiment) { must(x, second(x.Lab.Age(t.Context(), time.Hour, udp))) }, "no entry is selected"},
		"Age by Env":             {routing(), func(x *ctexp.Experiment) { must(x, second(x.Env.Age(t.Context(), time.Hour, udp))) }, "no entry is selected"},
		"Age of a fixed timeout": {routing(), func(x *ctexp.Experiment) {
			flow := through.Nth(9).Tuple(nf.UDP)
			must(x, x.Env.Table().Create(nf.Entry{Orig: flow, Reply: flow.Reverse(), Timeout: time.Minute, Status: nf.Confirmed | nf.FixedTimeout}))
			x.Age(time.Hour, udp)
		}, "which do not age"},
		"of none, which is meant": {quiet, func(x *ctexp.Experiment) { x.AllowVacuous(); x.Age(time.Hour, udp); x.Flush(udp) }, ""},
		"Flush by Lab tells 0":    {routing(), func(x *ctexp.Experiment) { must(x, second(x.Lab.Flush(t.Context(), udp))) }, ""},
		"Age after Flush of them": {routing(), func(x *ctexp.Experiment) {
			tcp := nf.Filter{Proto: nf.TCP}
			x.Flush(tcp)
			x.Age(time.Hour, tcp)
			x.Flush(tcp)
		}, ""},
		"Flush of what Age ended": {routing(), func(x *ctexp.Experiment) { tcp := nf.Filter{Proto: nf.TCP}; x.Age(time.Hour, tcp); x.Flush(tcp) }, ""},
		"all, twice": {quiet, func(x *ctexp.Experiment) {
			x.Flush()
			x.Flush()
			x.Flush(nf.Filter{})
			x.Age(time.Hour)
			x.Age(time.Hour, nf.Filter{})
		}, ""},
		"filters of the same entry": {routing(), func(x *ctexp.Experiment) { x.Flush(nf.Filter{Proto: nf.TCP}, nf.Filter{DstPort: 80}) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			judge(t, c.reason, func(f *redtest.TB) {
				x := ctexp.New(f, c.cfg)
				x.Inject(packet.SYNs(3, through))
				c.test(x)
			})
		})
	}
}

// must fails the experiment by an error.
func must(x *ctexp.Experiment, err error) {
	if err != nil {
		x.Fatalf("%v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// A text without rules was meant to have some.
func TestRulesOfNothing(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for name, text := range map[string]string{"empty.nft": "# nothing\n", "table.nft": "table ip n { }\n"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	nft := func(text string) netnsenv.Ruleset { return netnsenv.NFTWith(netnsenv.NFTOptions{Folder: folder}, text) }
	const only = "the text is empty or has only comments"
	for name, c := range map[string]struct {
		rules  netnsenv.Ruleset
		reason string // empty: green
	}{
		"nft":                  {netnsenv.NFT(""), only},
		"nft, comments":        {netnsenv.NFT("#!/usr/sbin/nft -f\n\n  # table ip n\r\n"), only},
		"a pattern":            {nft("include \"./*.none\"\n"), "only includes files"},
		"a file of comments":   {nft("include \"./empty.nft\"\n"), "only includes files"},
		"iptables-save":        {netnsenv.IPTablesSave(netnsenv.IPTablesNFT, "# Generated by iptables-save\n\n"), only},
		"ip6tables-save":       {netnsenv.IP6TablesSave(netnsenv.IPTablesLegacy, "\n"), only},
		"commands":             {netnsenv.IPTables(netnsenv.IPTablesNFT), "there is neither a text nor a command"},
		"ipset":                {netnsenv.IPSetSave(" "), only},
		"a listing":            {netnsenv.Listing("\n"), "listing: "},
		"with a missing link":  {netnsenv.MissingLinks(netnsenv.NFT("")), only},
		"that empties a table": {netnsenv.NFT("flush ruleset"), ""},
		"a table":              {nft("include \"table.nft\"\n"), ""},
		"some of the files":    {nft("include \"./*.nft\"\n"), ""},
		"that may be empty":    {netnsenv.AllowEmpty(netnsenv.NFT("# nothing")), ""},
		"commands, of none":    {netnsenv.AllowEmpty(netnsenv.IP6Tables(netnsenv.IPTablesNFT)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for how, load := range map[string]func(f *redtest.TB){
				"Config": func(f *redtest.TB) { ctexp.New(f, routing(c.rules)) },
				"Load":   func(f *redtest.TB) { ctexp.New(f, routing()).Load(c.rules) },
				"Compare": func(f *redtest.TB) {
					both := []ctexp.Policy{{Rules: []netnsenv.Ruleset{c.rules}}, {}}
					_, err := ctexp.Compare(context.Background(), routing(), both, packet.SYNs(1, through))
					ctexp.Require(f, "compare", err)
				},
			} {
				t.Run(how, func(t *testing.T) { judge(t, c.reason, load) })
			}
		})
	}
}

func TestCasesThatExpectNothing(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "x.cases")
	if err := os.WriteFile(file, []byte("link wan 192.0.2.1/24 default\n\ntcp 192.0.2.7:5 > 192.0.2.1:80 S\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	red(t, "nothing is expected", func(f *redtest.TB) { cases.Test(f, file) })
}
